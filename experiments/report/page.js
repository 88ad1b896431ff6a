"use strict";
// A click on a head sorts by its column: up, down, then as it was.
const collator = new Intl.Collator("en", {numeric: true});

// Of a row's name its text, of a number the number, of neither null.
function key(cell) {
  if (cell.tagName === "TH") return cell.textContent;
  return "value" in cell.dataset ? Number(cell.dataset.value) : null;
}

function sorted(rows, column, sense) {
  const keyed = rows.map(row => [key(row.cells[column]), row]);
  const known = keyed.filter(([one]) => one !== null);
  known.sort(([a], [b]) => sense *
    (typeof a === "string" ? collator.compare(a, b) : (a > b) - (a < b)));
  // What has no number is last, whichever way the others go.
  return [...known, ...keyed.filter(([one]) => one === null)]
    .map(([, row]) => row);
}

for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const first = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const next = {none: "ascending", ascending: "descending", descending: "none"};
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = next[head.getAttribute("aria-sort") ?? "none"];
      for (const each of heads) each.removeAttribute("aria-sort");
      const sense = order === "ascending" ? 1 : -1;
      if (order !== "none") head.setAttribute("aria-sort", order);
      body.append(...(order === "none" ? first : sorted(first, column, sense)));
    });
  });
}
