"""Hold the frame and the style of the page that `mergesketch dedup --report` writes."""

from __future__ import annotations

__all__ = ["PAGE"]

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="mergesketch dedup">
<title>De-duplication report</title>
<style>
:root { --back: #fbfaf8; --card: #ffffff; --line: #dedad3; --text: #22252a; --quiet: #62666d; --bar: #3d7a8c;
  --gone: #a3321f; --gone-back: #fbe3dd; --kept: #1c6b3a; --kept-back: #dcf2e2; --warn: #fdf1d3; }
@media (prefers-color-scheme: dark) {
  :root { --back: #17191c; --card: #1f2226; --line: #383c42; --text: #e4e4e2; --quiet: #9da2a9;
    --bar: #68b0c4; --gone: #ff9d8a; --gone-back: #4a211a; --kept: #86dca2; --kept-back: #183d26;
    --warn: #40351a; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; background: var(--back);
  color: var(--text); font: 16px/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.25rem; }
h3 { margin: 0 0 .25rem; font-size: 1rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .75rem;
  margin: 0; }
.cards div, article, figure { padding: .75rem 1rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card); }
.cards dt { color: var(--quiet); font-size: .85rem; }
.cards dd { margin: 0; }
.cards b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.cards span, figcaption, small { color: var(--quiet); font-size: .85rem; }
figure { margin: 0; max-width: 34rem; }
svg { display: block; width: 100%; height: auto; fill: var(--text); font: 13px system-ui, sans-serif; }
svg rect { fill: var(--bar); }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .5rem .75rem .5rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th { color: var(--quiet); font-weight: 500; font-size: .85rem; overflow-wrap: normal; }
.n { white-space: nowrap; font-variant-numeric: tabular-nums; }
code { font: .85rem/1.4 ui-monospace, monospace; }
article { margin: .75rem 0; }
.names { margin: 0 0 .5rem; color: var(--quiet); font-size: .9rem; }
.text { margin: .35rem 0 0; font-family: Georgia, serif; }
td .text { color: var(--quiet); font-size: .95rem; }
.text i { color: var(--quiet); font: italic .85rem system-ui, sans-serif; }
del { color: var(--gone); background: var(--gone-back); text-decoration: line-through; border-radius: 3px; }
ins { color: var(--kept); background: var(--kept-back); text-decoration: underline; border-radius: 3px; }
.names del, .names ins { background: none; text-decoration: none; }
.warning { padding: .75rem 1rem; border-radius: 8px; background: var(--warn); }
</style>
</head>
<body>
{{body}}
</body>
</html>
"""
