"""The style sheet of the self-contained pages: light and dark, readable on a telephone, no file of its own."""

CSS = """
:root{color-scheme:light dark;--ink:#1b2733;--muted:#5d6976;--line:#e1e5ea;--bg:#fff;--card:#f7f8fa;
--accent:#0f766e;--bar:#d5ece8;--mark:#b45f14}
@media(prefers-color-scheme:dark){:root{--ink:#e4e9ee;--muted:#9aa6b2;--line:#2c3641;--bg:#12181f;
--card:#1a222b;--accent:#4fb8ab;--bar:#1f4b47;--mark:#e0954e}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.55 system-ui,-apple-system,Roboto,"Segoe UI","Noto Sans","DejaVu Sans",sans-serif}
main{max-width:1180px;margin:0 auto;padding:40px 24px 72px}
h1{font-size:26px;line-height:1.25;margin:0 0 6px}
h2{font-size:18px;margin:40px 0 12px}
h3{font-size:16px;margin:0}
p{margin:6px 0}
.muted{color:var(--muted)}
.small{font-size:13px}
.figures{display:flex;flex-wrap:wrap;gap:10px 36px;margin:20px 0 4px}
.figures b{display:block;font-size:21px;font-variant-numeric:tabular-nums}
.figures span{color:var(--muted);font-size:13px}
.picture{background:#fff;border:1px solid var(--line);border-radius:10px;padding:10px;margin:20px 0}
.picture img{display:block;width:100%;max-width:1100px;height:auto;margin:0 auto}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(340px,100%),1fr));gap:16px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;
overflow-wrap:anywhere}
.card header{display:flex;justify-content:space-between;gap:12px;align-items:baseline}
.number{color:var(--muted);font-size:13px;font-variant-numeric:tabular-nums;white-space:nowrap}
.bar{height:6px;background:var(--line);border-radius:3px;margin:10px 0;overflow:hidden}
.bar i{display:block;height:100%;background:var(--accent)}
.tags{display:flex;flex-wrap:wrap;gap:5px;padding:0;margin:10px 0;list-style:none}
.tags li{background:var(--bar);border-radius:4px;padding:1px 7px;font-size:13px}
dl{margin:8px 0;font-size:13px;display:grid;grid-template-columns:max-content 1fr;gap:2px 12px}
dt{color:var(--muted)}
dd{margin:0}
details{margin-top:8px}
summary{cursor:pointer;color:var(--accent);font-size:13px}
details ol{padding-left:18px;margin:8px 0 0;font-size:13px}
details li{margin-bottom:8px}
a{color:var(--accent)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
.n{text-align:right}
th:first-child,td:first-child{text-align:left}
th{font-weight:600;color:var(--muted);white-space:nowrap}
.cellbar{display:inline-block;height:8px;background:var(--accent);border-radius:2px;margin-right:8px}
.hot{color:var(--mark);font-weight:600}
.form table{margin:10px 0}
.form blockquote{margin:16px 0;padding:2px 16px;border-left:3px solid var(--mark);background:var(--card)}
.form code{overflow-wrap:anywhere}
@media print{:root{color-scheme:light;--ink:#000;--muted:#444;--line:#bbb;--bg:#fff;--card:#fff;--accent:#0f766e;
--bar:#d5ece8;--mark:#8a4b0a}
@page{margin:18mm 16mm}
body{font-size:10.5pt}
main{max-width:none;padding:0}
h1,h2,h3,summary{break-after:avoid}
tr,.card,.picture,.figures{break-inside:avoid}
thead{display:table-header-group}
.scroll{overflow:visible}
td,th{overflow-wrap:anywhere}}
footer{margin-top:48px;color:var(--muted);font-size:13px;overflow-wrap:anywhere}
"""
