// The desk by keyboard. Everything works without it: rows are links, buttons are buttons.
(() => {
  const rows = () => [...document.querySelectorAll("tr")].filter((row) => row.querySelector("td a[href]"));
  let at = -1;
  const choose = (next) => {
    const all = rows();
    if (!all.length) return;
    if (all[at]) all[at].removeAttribute("aria-selected");
    at = Math.max(0, Math.min(next, all.length - 1));
    all[at].setAttribute("aria-selected", "true");
    all[at].scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input, textarea, select");
    if (field) {
      if (event.key === "Escape") field.blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "j") choose(at + 1);
    else if (event.key === "k") choose(at - 1);
    else if (event.key === "Enter" && at >= 0 && event.target === document.body) rows()[at].querySelector("td a[href]").click();
    else if (event.key === "/") {
      const search = document.querySelector("[role=search] input, input[type=search]");
      if (search) { search.focus(); search.select(); event.preventDefault(); }
    } else {
      const target = /^[a-z]$/.test(event.key) && document.querySelector(`[data-key="${event.key}"]`);
      if (target) { target.click(); event.preventDefault(); }
    }
  });
  // a decision is sent once, however often the button is pressed
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    setTimeout(() => event.target.querySelectorAll("button").forEach((one) => { one.disabled = true; }));
  });
  addEventListener("pageshow", () => document.querySelectorAll("form[method=post] button:disabled:not([data-off])").forEach((one) => { one.disabled = false; }));
})();
