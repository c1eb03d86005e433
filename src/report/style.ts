/** The report's style sheet: system fonts, light and dark by the reader's setting, fit for print. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #1a1f27; --soft: #5c6675; --line: #dfe3e9; --paper: #fff; --panel: #f6f7f9; --warn: #8a5a00; --warn-bg: #fff6e0;
  --c0: #2563c9; --c1: #c2410c; --c2: #0f8a5f; --c3: #8b3fc4; --c4: #b8860b; --c5: #be185d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #98a2b1; --line: #303844; --paper: #12161c; --panel: #1a2028; --warn: #f0c36a; --warn-bg: #2b2412;
  --c0: #6ea3ff; --c1: #ff9460; --c2: #48cf9c; --c3: #c792f5; --c4: #e5bd4f; --c5: #ff7eb6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 32px 24px 64px; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; } h2 { font-size: 17px; margin: 40px 0 12px; }
p.lead { color: var(--soft); margin: 0 0 24px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; }
.card { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.card b { display: block; font-size: 28px; font-weight: 650; font-variant-numeric: tabular-nums; } .card span { color: var(--soft); font-size: 13px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; } th { color: var(--soft); font-weight: 500; font-size: 13px; }
th:first-child, td:first-child, .left { text-align: left; } td.share { background: linear-gradient(to right, color-mix(in srgb, var(--c0) 22%, transparent) var(--share), transparent var(--share)); min-width: 110px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 20px; } figure { margin: 0; background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 14px; }
figcaption { font-weight: 600; margin-bottom: 6px; } svg { width: 100%; height: auto; display: block; } svg text { font-size: 12px; fill: var(--soft); } .grid { stroke: var(--line); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; color: var(--soft); } .key i { display: inline-block; width: 12px; height: 3px; margin-right: 6px; vertical-align: middle; border-radius: 2px; }
${[0, 1, 2, 3, 4, 5].map((i) => `svg .s${i} { stroke: var(--c${i}); } svg circle.s${i} { fill: var(--c${i}); } i.s${i} { background: var(--c${i}); }`).join('\n')}
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 16px; } .example { border: 1px solid var(--line); border-radius: 10px; padding: 12px; }
.trio { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px; } .trio img { width: 100%; image-rendering: pixelated; border-radius: 6px; display: block; } .trio div { font-size: 12px; color: var(--soft); }
.trio div b { color: var(--ink); font-weight: 600; } .example p { margin: 8px 0 0; font-size: 12px; color: var(--soft); overflow-wrap: anywhere; }
.warnings { background: var(--warn-bg); border-radius: 10px; padding: 12px 16px; margin: 20px 0; } .warnings b { color: var(--warn); } .warnings ul { margin: 6px 0 0; padding-left: 20px; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; overflow-x: auto; font-size: 13px; white-space: pre-wrap; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 0; } dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { body { padding: 0; max-width: none; } figure, .example, .card { break-inside: avoid; } }
`
