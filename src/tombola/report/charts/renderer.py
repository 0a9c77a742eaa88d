"""Renderer of charts in a process of its own, as it may crash: JSON in, a line of JSON for each picture out.

It is run by its path and imports nothing of Tombola, so that it starts at once.
"""

import json
import sys

import vl_convert


def main() -> None:
    """Draw the specifications that standard input has under `specs`, each a JSON text, in the given Vega-Lite."""
    given = json.load(sys.stdin)
    for spec in given["specs"]:
        picture = vl_convert.vegalite_to_svg(spec, vl_version=given["version"], allowed_base_urls=[])
        sys.stdout.write(f"{json.dumps(picture)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
