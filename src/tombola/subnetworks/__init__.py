"""A ticket applied to a model: gates, masks, structured removal, proof that they agree, recognition of new families."""
