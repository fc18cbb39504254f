"""Digests of source text: what changes them, what does not, and that every Python computes the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import krishiv_guarantees
from krishiv_guarantees import SourceTextUnreadable, combined_digest, module_digest, syntax_digest, syntax_digests

CODE = '''
"""Module."""

import os


class Sink:
    """Class."""

    mode: str = "append"
    """Attribute."""

    def commit(self, epoch: int, *, force: bool = False) -> int:
        """Method."""
        return epoch + 1 if force else 0


async def run() -> None:
    """Coroutine."""
    async for row in rows():
        yield f"{row!r:>{width}.{precision}}{{}}" "tail"
'''

SAME_CODE = {
    "another module docstring": CODE.replace("Module.", "Rewritten."),
    "no module docstring": CODE.replace('"""Module."""', ""),
    "another class docstring": CODE.replace("Class.", "Rewritten."),
    "no attribute docstring": CODE.replace('    """Attribute."""\n', ""),
    "another method docstring": CODE.replace("Method.", "Rewritten,\n        at length."),
    "no coroutine docstring": CODE.replace('    """Coroutine."""\n', ""),
    "a comment": CODE.replace("import os", "import os  # for paths"),
    "blank lines": CODE.replace("\n\n", "\n\n\n\n"),
    "other quotes": CODE.replace('"append"', "'append'"),
    "parentheses": CODE.replace("epoch + 1", "(epoch + 1)"),
    "a line break": CODE.replace("epoch + 1 if", "epoch \\\n + 1 if"),
    "a u prefix": CODE.replace('"append"', 'u"append"'),
    "a byte order mark": "\ufeff" + CODE,
    "Windows line ends": CODE.replace("\n", "\r\n"),
    "another way to write a number": CODE.replace("+ 1", "+ 0x1"),
    "an f-string in pieces": CODE.replace('{{}}" "tail"', '{{}}tail" ""'),
}
OTHER_CODE = {
    "another constant": CODE.replace("+ 1", "+ 2"),
    "True for 1": CODE.replace("+ 1", "+ True"),
    "1.0 for 1": CODE.replace("+ 1", "+ 1.0"),
    "None for 0": CODE.replace("else 0", "else None"),
    "False for 0": CODE.replace("else 0", "else False"),
    "bytes for text": CODE.replace('"append"', 'b"append"'),
    "another operator": CODE.replace("epoch + 1", "epoch - 1"),
    "another name": CODE.replace("epoch", "number"),
    "another default": CODE.replace("= False", "= True"),
    "no default": CODE.replace(": bool = False", ": bool"),
    "another annotation": CODE.replace("epoch: int", "epoch: float"),
    "no keyword marker": CODE.replace(" *, force", " force"),
    "another format": CODE.replace("!r", "!s"),
    "no format": CODE.replace(":>{width}.{precision}", ""),
    "other text in an f-string": CODE.replace("tail", "tale"),
    "another import level": CODE.replace("import os", "from . import os"),
    "not asynchronous": CODE.replace("async for", "for"),
    "one more statement": CODE + "x = 1\n",
    "statements in another order": CODE.replace("import os\n", "") + "import os\n",
}

# Syntax whose trees differ between Python versions, or that a careless canonical form confuses.
SAMPLE = (
    CODE
    + """
def edges(a, /, b, *args, c, d=None, **kw):
    x = {**a, None: 1}
    y = f"{a:}" f"" 'z' f"{b = !r:^{c}}" f"{x:{a}.{d}}"
    z = [i for i in x if i] if False else ...
    match a:
        case None: return 0
        case True | False: return "\\u0378\\U0001f9ff\\N{DIGIT ONE}"
        case {"k": [1, *rest], **others}: return -1e400j
        case _: return 0xFFFFFFFFFFFFFFFFFFFFFFFF
    try: pass
    except* ValueError: raise
    with (open(a) as f, open(b) as g): del f, g
    lambda *, k=None: k
    return a[1:, ..., *b]
"""
)
SAMPLE_DIGEST = "0c08904f5c9325be3e0b4b8578cf6b4eda0550294b5f6c11dfe690069db89dd6"


@pytest.mark.parametrize("text", SAME_CODE.values(), ids=SAME_CODE.keys())
def test_digest_stays_when_the_layout_or_a_docstring_changes(text: str) -> None:
    assert text != CODE
    assert syntax_digest(text) == syntax_digest(CODE)


@pytest.mark.parametrize("text", OTHER_CODE.values(), ids=OTHER_CODE.keys())
def test_digest_changes_when_the_code_does(text: str) -> None:
    assert text != CODE
    assert syntax_digest(text) != syntax_digest(CODE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("match x:\n case None: pass", "match x:\n case False: pass"),
        ("{**a}", "{None: a}"),
        ("f(a)(b)", "f(a, b)"),
        ("[[a], b]", "[[a, b]]"),
        ("x = '1'", "x = 1"),
        ("x = 'a', 'b'", "x = 'a, b'"),
        ("def f(*, a=None, b): pass", "def f(*, a, b=None): pass"),
        ("f'{x}a'", "f'{x}' + 'a'"),
        ("f'a'", "'b'; f'a'; 'c'; f''"),
        ("if a:\n b\nelse:\n c", "if a:\n b\nc"),
        ("x = 'é'", "x = 'e\u0301'"),
    ],
)
def test_digest_tells_apart_what_a_loose_form_confuses(one: str, other: str) -> None:
    assert syntax_digest(one) != syntax_digest(other)


def test_digest_takes_expressions_deeper_than_the_recursion_limit_of_a_walk() -> None:
    deep = "x = " + " + ".join(["1"] * 900)
    assert syntax_digest(deep) != syntax_digest(deep + " + 1")


def test_digest_of_text_with_an_invalid_escape_raises_no_warning() -> None:
    assert len(syntax_digest(r"x = '\d'")) == 64


@pytest.mark.parametrize("text", ["def (", "x = \0", "  indented\nless", "'unclosed"])
def test_digest_of_text_that_is_not_python_is_a_named_error(text: str) -> None:
    with pytest.raises(SourceTextUnreadable) as caught:
        syntax_digest(text)
    assert caught.value.hint


def test_module_digest_is_over_names_and_texts_in_any_order() -> None:
    one = {"a": "x = 1", "b": "x = 2"}
    assert module_digest(one) == module_digest(dict(reversed(one.items())))
    assert module_digest(one) == combined_digest(syntax_digests(one))
    assert module_digest(one) != module_digest({"a": "x = 2", "b": "x = 1"})
    assert module_digest(one) != module_digest({"a": "x = 1"})
    assert module_digest(one) == module_digest({"a": "'doc'\nx = 1", "b": "x = 2  # two"})


def test_digest_of_the_sample_is_the_one_on_record() -> None:
    # Changes only with the canonical form itself, which makes every certificate stale: then _FORM changes too.
    assert syntax_digest(SAMPLE) == SAMPLE_DIGEST


def other_pythons() -> list[str]:
    """Interpreters of supported versions on this machine, this one first."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [*sorted(versions.glob("3.1[1-9].*/bin/python")), *(shutil.which(f"python3.{n}") for n in range(11, 20))]
    runnable = [str(path) for path in found if path and not Path(path).parent.match("shims")]
    return [sys.executable, *dict.fromkeys(runnable)]


def test_digest_is_the_same_on_every_python_of_this_machine() -> None:
    root = Path(krishiv_guarantees.__file__).parents[1]
    own = {path.stem: path.read_text("utf-8") for path in sorted((root / "krishiv_guarantees").glob("*.py"))}
    wanted = f"{syntax_digest(SAMPLE)} {module_digest(own)}\n"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from krishiv_guarantees import module_digest, syntax_digest\n"
        "own = {p.stem: p.read_text('utf-8') for p in Path(sys.argv[1], 'krishiv_guarantees').glob('*.py')}\n"
        "print(syntax_digest(sys.stdin.read()), module_digest(own))"
    )
    for python in other_pythons():
        command = [python, "-I", "-B", "-c", script, str(root)]
        run = subprocess.run(command, input=SAMPLE, capture_output=True, text=True, encoding="utf-8", check=False)
        assert (run.returncode, run.stdout) == (0, wanted), f"{python}: {run.stderr}"
