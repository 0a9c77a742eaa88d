"""BLiMP as published: its 67 paradigms, a folder of files in its format, pairs of equal sentences among them."""

import json
from pathlib import Path

_NAMES = """
adjunct_island anaphor_gender_agreement anaphor_number_agreement animate_subject_passive animate_subject_trans causative
complex_NP_island coordinate_structure_constraint_complex_left_branch
coordinate_structure_constraint_object_extraction determiner_noun_agreement_1 determiner_noun_agreement_2
determiner_noun_agreement_irregular_1 determiner_noun_agreement_irregular_2 determiner_noun_agreement_with_adj_2
determiner_noun_agreement_with_adj_irregular_1 determiner_noun_agreement_with_adj_irregular_2
determiner_noun_agreement_with_adjective_1 distractor_agreement_relational_noun distractor_agreement_relative_clause
drop_argument ellipsis_n_bar_1 ellipsis_n_bar_2 existential_there_object_raising existential_there_quantifiers_1
existential_there_quantifiers_2 existential_there_subject_raising expletive_it_object_raising inchoative intransitive
irregular_past_participle_adjectives irregular_past_participle_verbs irregular_plural_subject_verb_agreement_1
irregular_plural_subject_verb_agreement_2 left_branch_island_echo_question left_branch_island_simple_question
matrix_question_npi_licensor_present npi_present_1 npi_present_2 only_npi_licensor_present only_npi_scope passive_1
passive_2 principle_A_c_command principle_A_case_1 principle_A_case_2 principle_A_domain_1 principle_A_domain_2
principle_A_domain_3 principle_A_reconstruction regular_plural_subject_verb_agreement_1
regular_plural_subject_verb_agreement_2 sentential_negation_npi_licensor_present sentential_negation_npi_scope
sentential_subject_island superlative_quantifiers_1 superlative_quantifiers_2 tough_vs_raising_1 tough_vs_raising_2
transitive wh_island wh_questions_object_gap wh_questions_subject_gap wh_questions_subject_gap_long_distance
wh_vs_that_no_gap wh_vs_that_no_gap_long_distance wh_vs_that_with_gap wh_vs_that_with_gap_long_distance
"""
PARADIGMS = tuple(_NAMES.split())
EQUAL = {
    "coordinate_structure_constraint_complex_left_branch": (3, 7),
    "determiner_noun_agreement_irregular_1": (0, 4, 9),
    "wh_vs_that_with_gap_long_distance": (5, 8),
}
"""Paradigm → places of pairs of equal sentences: seven in all, as published, in files of our choice."""


def write(folder: Path, pairs: int = 10) -> Path:
    """Write a file of so many pairs for every paradigm, with the fields that BLiMP's have."""
    folder.mkdir()
    for name in PARADIGMS:
        rows = []
        for number in range(pairs):
            good = f"Some w{number} of {name.replace('_', ' ')} should leave."
            bad = good if number in EQUAL.get(name, ()) else good.replace("should leave", "leave should")
            facts = {"field": "syntax", "linguistics_term": "island_effects", "UID": name, "simple_LM_method": True}
            facts |= {"one_prefix_method": False, "two_prefix_method": False, "lexically_identical": False}
            rows.append({"sentence_good": good, "sentence_bad": bad, **facts, "pairID": str(number)})
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return folder
