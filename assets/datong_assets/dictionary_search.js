// Search in the dictionary, in the page itself. window.datongWords holds rows of page, name, title, Chinese title, kind, meaning.
(() => {
  const box = document.getElementById("search"), out = document.getElementById("found");
  if (!box || !out) return;
  const fold = (text) => text.normalize("NFKC").toLowerCase().replace(/[_\s.]+/g, " ");
  const rows = (window.datongWords || []).map((row) => ({ row, name: fold(row[1]), titles: fold(row[2] + " " + row[3]), all: fold(row.join(" ")) }));
  const score = (one, parts, whole) => {
    if (!parts.every((part) => one.all.includes(part))) return 0;
    const last = one.name.slice(one.name.lastIndexOf(" ") + 1);
    let points = 1;
    if (one.name === whole || fold(one.row[2]) === whole || one.row[3] === whole) points += 8;
    if (parts.every((part) => one.titles.includes(part))) points += 4;
    if (parts.every((part) => one.name.includes(part))) points += 3;
    if (last === parts[parts.length - 1]) points += 1;
    return points;
  };
  const cell = (row, content) => { const made = document.createElement("td"); made.append(content); row.append(made); };
  const look = () => {
    const whole = fold(box.value).trim();
    out.replaceChildren();
    if (!whole) return;
    const parts = whole.split(" ");
    const found = rows.map((one) => [score(one, parts, whole), one]).filter(([points]) => points)
      .sort((a, b) => b[0] - a[0] || a[1].name.length - b[1].name.length).slice(0, 40);
    if (!found.length) { const none = document.createElement("p"); none.className = "empty"; none.textContent = box.dataset.none; out.append(none); return; }
    const zh = document.documentElement.lang.startsWith("zh");
    const table = document.createElement("table");
    for (const [, { row }] of found) {
      const line = document.createElement("tr"), to = document.createElement("a"), name = document.createElement("code");
      to.href = row[0]; to.textContent = (zh ? row[3] : row[2]) || row[1];
      name.textContent = row[1];
      cell(line, to); cell(line, name); cell(line, (zh ? row[2] : row[3]) || ""); cell(line, row[4]); cell(line, row[5]);
      table.append(line);
    }
    const wide = document.createElement("div");
    wide.className = "wide"; wide.append(table); out.append(wide);
  };
  const given = new URLSearchParams(location.search).get("q");
  if (given) box.value = given;
  box.addEventListener("input", look);
  look();
})();
