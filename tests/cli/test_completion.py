"""Completion scripts for shells."""

import asyncio
import subprocess
import sys

import pytest

_BASH = """
source {script}
COMP_WORDS=({words}) COMP_CWORD={last}
_shtab_sieve_async
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def script_for(shell: str) -> bytes:
    """The completion script for a shell."""
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "sieve_async", "--print-completion", shell],
        capture_output=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_scripts(shell: str) -> None:
    """With shtab there is a completion script for each shell, which knows the commands."""
    script = script_for(shell)

    assert all(word in script for word in (b"watch", b"outputs", b"report"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["wat"], "watch"),
        (["job", "outp"], "outputs"),
        (["watch", "--strategy", "long"], "long_poll"),
        (["watch", "--repo"], "--report"),
        (["watch", "--ids-file", "FOLDER/some"], "FOLDER/some-ids.txt"),
        (["watch", "--report", "FOLDER/some"], "FOLDER/some-ids.txt"),
        (["--key-file", "FOLDER/some"], "FOLDER/some-ids.txt"),
        (["run", "me/mine", "--download", "FOLDER/some"], "FOLDER/some-directory"),
    ],
    ids=" ".join,
)
def test_bash(tmp_path_factory: pytest.TempPathFactory, words: list[str], expected: str) -> None:
    """Bash completes commands, options, words, and the names of files and directories."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "some-ids.txt").touch()
    (folder / "some-directory").mkdir()
    (folder / "script").write_bytes(script_for("bash"))
    typed = ["sieve-async", *(word.replace("FOLDER", str(folder)) for word in words)]
    line = _BASH.format(script=folder / "script", words=" ".join(typed), last=len(typed) - 1)

    ended = subprocess.run(  # noqa: S603 - our own script
        ["/bin/bash", "-c", line], capture_output=True, text=True, check=False
    )

    assert expected.replace("FOLDER", str(folder)) in ended.stdout.split()


async def test_without_shtab() -> None:
    """Without shtab one line says what to install."""
    code = (
        "import sys; sys.modules['shtab'] = None; "
        "from sieve_async.cli import main; main(sys.argv[1:])"
    )
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, "--print-completion", "bash"),
        stderr=asyncio.subprocess.PIPE,
    )

    _, errors = await program.communicate()

    assert program.returncode == 2
    assert b'pip install "sieve-async[cli]"' in errors
