"""The page of a run over several tasks: what is kept over all of them, and where the page of each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from limbeck.general_lines import HEAD as GENERAL_HEAD
from limbeck.general_lines import general_lines
from limbeck.report.claims import HEAD as CLAIM_HEAD
from limbeck.report.claims import claim_lines
from limbeck.report.page import embedded_json
from limbeck.results.retention import MEANING, retention_lines, task_rows

_TEMPLATE = """\
{%- macro table(head, body, kind="plain numbers") -%}
<div class="wide" tabindex="0" role="region"><table class="{{ kind }}">
<thead><tr>{% for title in head %}<th scope="col">{{ title }}</th>{% endfor %}</tr></thead>
<tbody>
{% for line in body %}
<tr><th scope="row">{{ line[0] }}</th>{% for cell in line[1:] %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{%- endmacro -%}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ results.recipe }}, seed {{ results.seed }}</title>
<style>{{ style }}</style>
</head>
<body>
<main>
<h1>{{ results.recipe }}</h1>
<p>Seed {{ results.seed }}. Each task has a page of its own:
{% for name, page in tasks %}
<a href="{{ page }}">{{ name }}</a> ({{ test_rows[name] }} test rows){{ ", " if not loop.last }}
{%- endfor %}.</p>
<section>
<h2>What is kept</h2>
<p>{{ meaning }}.</p>
{{ table(kept_head, kept) }}
</section>
{% if general %}
<section>
<h2>Distilled without a task</h2>
<p>Scores are on texts that were held out; cosine: of the last hidden states with the teacher's, nothing masked.</p>
{{ table(general_head, general) }}
</section>
{% endif %}
{% if claims %}
<section>
<h2>Claims</h2>
{{ table(claim_head, claims, "plain claims") }}
</section>
{% endif %}
</main>
<script type="application/json" id="data">{{ data }}</script>
</body>
</html>
"""


def tasks_page(results: Mapping[str, Any], pages: Mapping[str, str]) -> str:
    """One HTML page that needs nothing else: the same results give the same bytes.

    Args:
        results: the content of results.json.
        pages: each task's page, beside this one, by the task's name.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    head, kept = retention_lines([results])
    general: Sequence[Sequence[str]] = general_lines(results.get("general") or [])
    return environment.from_string(_TEMPLATE).render(
        style=Markup(files("limbeck.report").joinpath("page.css").read_text(encoding="utf-8")),
        results=results,
        tasks=list(pages.items()),
        test_rows=task_rows(results),
        meaning=MEANING[0].upper() + MEANING[1:],
        kept_head=[head[1], head[0], *head[2:]],
        kept=[[line[1], line[0], *line[2:]] for line in kept],
        general_head=GENERAL_HEAD,
        general=general,
        claim_head=CLAIM_HEAD,
        claims=claim_lines([results.get("claims") or []]),
        data=embedded_json({"results": results}),
    )
