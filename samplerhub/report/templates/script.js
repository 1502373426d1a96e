"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  document.documentElement.classList.add("js-on");

  // Sorting: within each block of equal NFE; a second click turns the order.
  const worth = (row, column) => {
    const cell = row.cells[column];
    const text = cell.hasAttribute("data-v") ? cell.dataset.v : cell.textContent.replace(/−/g, "-");
    const value = text === "inf" ? Infinity : text === "-inf" ? -Infinity : text === "" ? NaN : Number(text);
    return { text, value };
  };
  const compare = (a, b) => {
    if (!isNaN(a.value) && !isNaN(b.value)) return a.value === b.value ? 0 : a.value < b.value ? -1 : 1;
    if (isNaN(a.value) !== isNaN(b.value)) return isNaN(a.value) ? 1 : -1;
    return a.text.localeCompare(b.text);
  };
  for (const table of all("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      for (const body of table.tBodies) {
        const rows = [...body.rows].slice(1);
        const keys = new Map(rows.map((row) => [row, worth(row, column)]));
        const last = (row) => isNaN(keys.get(row).value) && (keys.get(row).text === "" || keys.get(row).text === "nan");
        rows.sort((a, b) => last(a) || last(b) ? last(a) - last(b) : compare(keys.get(a), keys.get(b)) * (falling ? -1 : 1));
        body.append(...rows);
      }
    }));
  }

  // Filtering: by colour everywhere, by budget and by words in the leaderboard.
  const off = new Set();
  const budget = document.getElementById("budget");
  const find = document.getElementById("find");
  const words = (row) => {
    const names = [...row.closest("table").tHead.rows[0].cells].map((head) => head.firstElementChild.textContent);
    return [...row.cells].map((cell, i) => `${names[i]} ${cell.textContent}`).join(" ").toLowerCase();
  };
  const rows = all("table.sortable tbody tr:not(.head)").map((row) => ({ row, words: words(row) }));
  const show = () => {
    const asked = find.value.toLowerCase().trim();
    const wanted = asked.split(/\s*,\s*/).filter(Boolean);
    const is = (text, want) => {
      for (let at = text.indexOf(want); at >= 0; at = text.indexOf(want, at + 1)) {
        if (!/[\d.]/.test(text[at + want.length] ?? " ") || !/\d$/.test(want)) return true;
      }
      return false;
    };
    for (const element of all("[data-s]")) element.classList.toggle("off", off.has(element.dataset.s));
    for (const { row, words: text } of rows) {
      const out = off.has(row.dataset.s) || (budget.value && row.parentNode.dataset.b !== budget.value);
      row.classList.toggle("off", Boolean(out) || !wanted.every((want) => is(text, want)));
    }
    for (const card of all(".card")) card.classList.toggle("off", Boolean(budget.value) && card.dataset.b !== budget.value);
    for (const section of all(".shown")) {
      const table = section.parentNode.querySelector("table");
      for (const body of table.tBodies) body.classList.toggle("off", !body.querySelector("tr:not(.head):not(.off)"));
      const total = table.querySelectorAll("tbody tr:not(.head)").length;
      const left = table.querySelectorAll("tbody tr:not(.head):not(.off)").length;
      section.textContent = left === total ? `${total} rows` : `${left} of ${total} rows`;
    }
  };
  for (const chip of all(".chip")) {
    chip.addEventListener("click", () => {
      const key = chip.dataset.t;
      if (!off.delete(key)) off.add(key);
      chip.setAttribute("aria-pressed", String(!off.has(key)));
      show();
    });
  }
  budget.addEventListener("change", show);
  find.addEventListener("input", show);
  show();

  for (const button of all(".copy")) {
    button.addEventListener("click", async () => {
      const text = button.parentNode.querySelector("code").textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(button.parentNode.querySelector("code"));
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
})();
