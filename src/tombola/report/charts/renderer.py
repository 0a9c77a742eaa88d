"""Renderer of charts in a process of its own, as it may crash: JSON in, a line of JSON for each chart out.

It is run by its path and imports nothing of Tombola, so that it starts at once.
"""

import base64
import json
import sys

import vl_convert


def main() -> None:
    """Draw the specifications that standard input has under `specs`, each a JSON text, in the given Vega-Lite.

    A line is an object: `svg`, text; `png`, of twice the size, and `pdf`, both in Base64, if `all` is true.
    """
    given = json.load(sys.stdin)
    for spec in given["specs"]:
        svg = vl_convert.vegalite_to_svg(spec, vl_version=given["version"], allowed_base_urls=[])
        pictures = {"svg": svg}
        if given["all"]:
            for name, picture in (("png", vl_convert.svg_to_png(svg, scale=2.0)), ("pdf", vl_convert.svg_to_pdf(svg))):
                pictures[name] = base64.b64encode(picture).decode()
        sys.stdout.write(f"{json.dumps(pictures)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
