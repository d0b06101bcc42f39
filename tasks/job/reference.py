"""The job file in words, from the descriptions in `tasks/job/`: reference page, commented files.

In: the pydantic model. Out: text. `python -m tasks.job.reference` rewrites `docs/job-file.md`; a
test compares the two.
"""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic.fields import FieldInfo

from tasks.job.checking import Range
from tasks.job.job import Job
from tasks.job.setting import Setting

PAGE = Path(__file__).parents[2] / "docs" / "job-file.md"
WIDTH = 100  # columns of a commented job file
LONG_LIST = 5  # entries from which a list has a line for each

EXAMPLE = """\
name: metro
source:
  path: data/metro_traffic.csv.gz   # relative paths start at the folder of this file
columns:
  timestamp: date_time
  target: [traffic_volume]
  checked: [temp, rain_1h, snow_1h, clouds_all]
frequency: h
horizon: 48
season: 24
validation:
  ranges:
    temp: {min: 200, max: 330}      # kelvin; outside is a defect of the sensor
    rain_1h: {min: 0, max: 300}
  max_missing: 0.5
transform:
  duplicates: keep_first            # one row per weather description
backtest:
  windows: 20
  baselines: [naive, seasonal_naive, seasonal_naive:168]
finetune:
  max_steps: 400
"""

INTRO = f"""\
# The job file

<!-- Made from tasks/job/ by `python -m tasks.job.reference`; edit the descriptions there. -->

One YAML file says everything about a forecasting job; `moirai init DATA` proposes one. Unknown
settings are refused, so that a typing error cannot pass. Relative paths start at the file's folder.

```yaml
{EXAMPLE}```

Only `name`, `source` (`path`, or `url` and `query`), `columns.timestamp`, `columns.target`,
`frequency` and `horizon` are required; all else has the default shown here.
"""


def reference_page() -> str:
    """The page `docs/job-file.md`: an example, and a table per block."""
    sections = [INTRO, "## Settings\n", _section_table(Job, blocks=_blocks(Job))]
    for name, block in _blocks(Job).items():
        sections += [f"## {name}\n", f"{block.__doc__}\n", _section_table(block, blocks={})]
    sections += ["## validation.ranges\n", "A mapping from a column to its bounds.\n"]
    sections.append(_section_table(Range, blocks={}))
    return "\n".join(sections)


def commented_job(settings: Mapping[str, Any], *, notes: Mapping[str, str], head: str) -> str:
    """A job file that explains itself.

    Args:
        settings: nested settings; those not named are shown with their defaults, commented out.
        notes: per dotted setting a second comment, such as how it was found.
        head: first comment of the file.

    Returns:
        YAML that `load_job` reads.
    """
    meaning = "Comments say what a setting means and how it was found. Lines with # in the first "
    meaning += "column and a value show defaults; to change one, remove its # and that of its block."
    lines = [*_comment(head, ""), *_comment(meaning, ""), ""]
    for key, field in Job.model_fields.items():
        block = _blocks(Job).get(key)
        if block is None:
            lines += [*_setting_lines(key, field, settings, notes, ""), ""]
            continue
        inner = _block_lines(key, block, settings.get(key, {}), notes)
        mark = "" if key in settings else "#"
        lines += [*_comment(str(block.__doc__), ""), f"{mark}{key}:", *inner, ""]
    return "\n".join(lines)


def _block_lines(key: str, block: type[Setting], given: Mapping[str, Any], notes: Mapping[str, str]) -> Iterator[str]:
    for name, field in block.model_fields.items():
        yield from _setting_lines(f"{key}.{name}", field, given, notes, "  ")


def _setting_lines(
    setting: str, field: FieldInfo, given: Mapping[str, Any], notes: Mapping[str, str], indent: str
) -> Iterator[str]:
    """Comments and value of one setting; a default is commented out by a # in the first column."""
    yield from _comment(str(field.description), indent)
    if note := notes.get(setting):
        yield from _comment(note, indent)
    key = setting.rsplit(".", 1)[-1]
    if key not in given:
        yield f"#{indent}{key}: {_scalar(field.get_default(call_default_factory=True))}"
    elif isinstance(given[key], list) and len(given[key]) > LONG_LIST:
        yield f"{indent}{key}:"
        yield from (f"{indent}  - {_scalar(entry)}" for entry in given[key])
    else:
        yield f"{indent}{key}: {_scalar(given[key])}"


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
        break_on_hyphens=False,
    )


def _scalar(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=2**20, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("...").rstrip("\n")


def _blocks(model: type[Setting]) -> dict[str, type[Setting]]:
    """The settings of a model that are blocks of settings themselves, those that may be absent included."""
    fields = {name: (get_args(one.annotation) or [one.annotation])[0] for name, one in model.model_fields.items()}
    return {name: kind for name, kind in fields.items() if isinstance(kind, type) and issubclass(kind, Setting)}


def _section_table(model: type[Setting], *, blocks: Mapping[str, type[Setting]]) -> str:
    """Settings of one model as a Markdown table."""
    schema = model.model_json_schema()
    rows = ["| setting | kind | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if name in blocks:
            must = "required" if field.is_required() else "see there"
            rows.append(f"| [`{name}`](#{name}) | block | {must} | {blocks[name].__doc__} |")
            continue
        default = "required" if field.is_required() else f"`{_scalar(field.get_default(call_default_factory=True))}`"
        rows.append(f"| `{name}` | {_kind(schema['properties'][name])} | {default} | {field.description} |")
    return "\n".join([*rows, ""])


def _kind(schema: Mapping[str, Any]) -> str:
    """What values a setting takes, from its JSON schema."""
    if "anyOf" in schema:
        return " or ".join(_kind(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{option}`" for option in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_kind(schema['items'])}"
    if kind == "object":
        return "mapping"
    names = {
        "string": schema.get("format", "text"),
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
    }
    bounds = {
        "exclusiveMinimum": "above",
        "minimum": "from",
        "exclusiveMaximum": "below",
        "maximum": "to",
    }
    limits = [f"{word} {schema[bound]:g}" for bound, word in bounds.items() if bound in schema]
    return " ".join([names.get(str(kind), str(kind)), *limits])


if __name__ == "__main__":
    PAGE.write_text(reference_page(), encoding="utf-8")
