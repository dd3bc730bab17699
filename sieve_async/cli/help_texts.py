"""What the help says."""

DESCRIPTION = """\
Look up jobs and function versions of Sieve, and wait for them.

Results go to standard output, one as each job ends; progress and errors go to standard error.
Ending this program, with Ctrl-C or otherwise, never ends a remote job."""

EXIT_CODES = """\
exit codes, the first that applies (also when many jobs went wrong in several ways):
  130, 143  interrupted by Ctrl-C or SIGTERM; says which jobs still run and how to go on
  141       whoever read the results has gone
  4         there is no API key, or it was refused
  6         the API, the network or a file failed
  124       the time given by --timeout was over
  2         an argument or an id cannot be right
  5         a job or version was not found
  1         a job or build ended in error, or a job began its outputs again
  3         a job was cancelled
  0         all finished or ready (1 and 3 become 0 with --no-fail)"""

EPILOG = f"""\
{EXIT_CODES}

environment:
  SIEVE_API_KEY       the key; it is never taken as an argument
  SIEVE_API_KEY_FILE  a file that holds it; else ~/.config/.sieve/config is read
  SIEVE_API_URL       where the API is
  NO_COLOR            no colours
  CI, TERM=dumb       no live view, but a line every 30 seconds

examples:
  sieve-async job wait 8e6a0f1c-8d1f-4c7b-9f38-9a3f0c1d2e4b --timeout 90m
  sieve-async watch --ids-file ids.txt -o jsonl --report batch.html > ends.jsonl
  cat ids.txt | sieve-async watch - --fail-fast
  sieve-async job outputs 8e6a0f1c-8d1f-4c7b-9f38-9a3f0c1d2e4b | jq -r .data.url
  sieve-async version wait sieve/dubbing && ./start.sh"""

# The summary in the list of commands, and what the command's own help says besides.
DESCRIPTIONS = {
    "job": ("look up jobs, wait for them, or read their outputs", ""),
    "job get": ("look up one job", "Exits 0 however the job is: it was found."),
    "job wait": (
        "wait until jobs have ended, and print each as it ends",
        "A job that ended in error or was cancelled has ended, too: the exit code tells.",
    ),
    "job outputs": (
        "print the outputs of a job while it runs, one JSON object a line",
        "Each output comes once and in order. An output of several parts is a JSON array.",
    ),
    "version": ("look up versions of functions, or wait for their builds", ""),
    "version get": ("look up one version", "Exits 0 however its build is: it was found."),
    "version wait": (
        "wait until the build of a version is ready or has failed",
        "The version that is latest now is followed, also when another is deployed meanwhile.",
    ),
    "watch": (
        "watch many jobs, thousands if need be, and print each as it ends",
        (
            "Ids stand apart by white space. Each distinct id is watched once. With - they are\n"
            "watched as they come, and the watch ends when the input has ended and all jobs have."
        ),
    ),
    "demo": ("watch jobs and two builds on an embedded server, and show how they end", ""),
    "serve": ("run a Sieve server for tests on this machine", ""),
}

STRATEGY_HELP = (
    "poll looks at each job (the default); long_poll lets the server hold requests, for few jobs; "
    "sweep reads lists of the running jobs, for hundreds"
)

COMMON = {
    "base_url": "where the API is; else SIEVE_API_URL, else the public service",
    "key_file": "a file that holds the API key; else SIEVE_API_KEY and what --help tells of",
    "debug": "log every poll that fails, and show where errors come from",
    "timeout": "the longest time for the whole: 90m, 1h30m, 45s, 2d, or seconds (default: none)",
    "no_fail": "exit 0 also when jobs ended in error or were cancelled",
    "output": "text (the default), json (one document), jsonl (a JSON object a line) or quiet",
}
