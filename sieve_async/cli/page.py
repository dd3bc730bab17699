"""The frame of the page of ``watch --report``; it loads nothing from anywhere, and runs nothing."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --paper: #fcfcfd;
  --line: #d9d9e0; --queued: #b9bbc6; --finished: #2a8f5a;
  --error: #d93036; --cancelled: #d08700; --other: #3a78d0; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --soft: #b0b4ba;
  --paper: #111113;
  --line: #43484e; --queued: #5a6169; --finished: #3dbf7c; --error: #ff6369; --cancelled: #ffb224;
  --other: #70aaff; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1120px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.soft, figcaption, th { color: var(--soft); font-weight: normal; }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: .5rem 2rem; padding: 0; }
li b { font-size: 1.4rem; } li { border-left: 4px solid; padding-left: .6rem; }
.finished { color: var(--finished); } .error { color: var(--error); }
.cancelled { color: var(--cancelled); } .other { color: var(--other); }
.queued { color: var(--queued); }
table { border-collapse: collapse; } td, th { padding: .1rem 1rem .1rem 0; text-align: left; }
figure { margin: 1rem 0; } svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .axis { stroke: var(--line); } svg path { fill: currentColor; stroke: none; }
svg .run { opacity: .7; } svg g:hover .run { opacity: 1; }
figcaption b { font-weight: normal; color: var(--soft); margin-right: 1rem; }
details, p { margin: .2rem 0; overflow-wrap: anywhere; }
pre { overflow-x: auto; border: 1px solid var(--line); padding: .6rem; white-space: pre-wrap; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class="soft">watched from {when}</p>
<ul>{totals}</ul>
<table><tr><th></th><th>median</th><th>95 %</th><th>longest</th><th>together</th></tr>
{times}</table>
{picture}
{failures}
{running}
</body>
</html>
"""
