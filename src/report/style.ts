import { COLOURS } from './chart.js'

/** The report's style sheet: system fonts, light and dark by the reader's setting, fit for phones and print. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #171c24; --soft: #5a6473; --line: #e1e5ea; --paper: #fff; --panel: #f7f8fa; --wrong: #b3261e; --warn: #7a4f00; --warn-bg: #fff5dd;
  --c0: #2563c9; --c1: #c2410c; --c2: #0f8a5f; --c3: #8b3fc4; --c4: #9a7000; --c5: #be185d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf0; --soft: #9aa4b3; --line: #2d3540; --paper: #11151b; --panel: #181e26; --wrong: #ff8a80; --warn: #f0c36a; --warn-bg: #2b2412;
  --c0: #6ea3ff; --c1: #ff9460; --c2: #48cf9c; --c3: #c792f5; --c4: #e5bd4f; --c5: #ff7eb6; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { margin: 0 auto; max-width: 1120px; padding: 40px 24px 72px; }
.kicker { margin: 0; color: var(--soft); font-size: 12px; font-weight: 600; letter-spacing: 0.08em; text-transform: uppercase; }
h1 { font-size: 32px; line-height: 1.2; margin: 4px 0; letter-spacing: -0.02em; overflow-wrap: anywhere; } h2 { font-size: 18px; margin: 44px 0 14px; letter-spacing: -0.01em; }
.lead { color: var(--soft); margin: 0 0 28px; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); border: 1px solid var(--line); border-radius: 12px; overflow: hidden; background: var(--line); gap: 1px; }
.card { background: var(--panel); padding: 16px 18px; } .card b { display: block; font-size: 30px; line-height: 1.25; font-weight: 650; letter-spacing: -0.02em; font-variant-numeric: tabular-nums; }
.card span { display: block; color: var(--soft); font-size: 13px; font-variant-numeric: tabular-nums; } .card span:first-child { color: var(--ink); font-weight: 600; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: right; white-space: nowrap; font-weight: 400; } td b { font-weight: 650; }
thead th { color: var(--soft); font-size: 13px; } th:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; } th:first-child { padding-left: 2px; }
tbody tr.first > * { border-top: 1px solid var(--line); } tbody tr:last-child > * { border-bottom: 1px solid var(--line); } tr.first th { font-weight: 600; } tr.again th { color: var(--soft); }
tbody tr:hover { background: var(--panel); }
.range { position: relative; display: block; width: 150px; height: 8px; border-radius: 4px; background: linear-gradient(to right, color-mix(in srgb, var(--c0) 18%, transparent) var(--at), var(--line) var(--at)); }
.range::before { content: ""; position: absolute; top: 3px; height: 2px; left: var(--low); right: calc(100% - var(--high)); background: var(--c0); }
.range::after { content: ""; position: absolute; top: 0; left: calc(var(--at) - 4px); width: 8px; height: 8px; border-radius: 50%; background: var(--c0); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 16px; } figure { margin: 0; border: 1px solid var(--line); border-radius: 12px; padding: 16px; }
figcaption { font-weight: 600; } .charts figcaption { margin-bottom: 8px; } svg { width: 100%; height: auto; display: block; } svg text { font-size: 12px; fill: var(--soft); } svg .name { font-weight: 600; stroke: none; }
.grid { stroke: var(--line); } svg path { fill: none; stroke-width: 2; stroke-linejoin: round; }
${Array.from({ length: COLOURS }, (_, i) => `.s${i} { stroke: var(--c${i}); } .s${i} circle, svg .name.s${i} { fill: var(--c${i}); }`).join('\n')}
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); gap: 16px; } .example { padding: 12px; }
.trio { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; color: var(--soft); font-size: 12px; text-align: center; }
.trio img { width: 100%; border-radius: 6px; display: block; margin-bottom: 2px; } .pixelated { image-rendering: pixelated; }
.example figcaption { margin-top: 8px; font-weight: 400; } .example small { display: block; color: var(--soft); font-size: 12px; overflow-wrap: anywhere; } .wrong { color: var(--wrong); }
.warnings { background: var(--warn-bg); border-radius: 12px; padding: 14px 18px; margin: 20px 0 0; } .warnings b { color: var(--warn); } .warnings ul { margin: 6px 0 0; padding-left: 20px; }
pre { margin: 0; background: var(--panel); border: 1px solid var(--line); border-radius: 12px; padding: 14px 18px; font: 13px/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
code { font: inherit; } dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 24px; margin: 0; } dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 600px) { main { padding: 24px 16px 48px; } h1 { font-size: 26px; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 8px; } }
@media print { main { padding: 0; max-width: none; } body { font-size: 12px; } figure, .cards, .warnings, tr { break-inside: avoid; } h2 { break-after: avoid; } .scroll { overflow: visible; } .charts { grid-template-columns: 1fr 1fr; }
  th, td { padding: 4px 6px; } .range { width: 90px; } * { print-color-adjust: exact; } }
`
