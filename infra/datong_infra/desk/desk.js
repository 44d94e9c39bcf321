// The desk by keyboard. Everything works without it: rows are links, buttons are buttons.
(() => {
  const rows = () => [...document.querySelectorAll("tr")].filter((row) => row.querySelector("td a[href]"));
  const link = (row) => row.querySelector("td a[href]");
  // the focus itself moves, so that a screen reader says where it is and Enter needs no help
  const choose = (by) => {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const next = all[at < 0 ? 0 : Math.max(0, Math.min(at + by, all.length - 1))];
    link(next).focus();
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input, textarea, select");
    if (field && field.type !== "checkbox") {
      if (event.key === "Escape") field.blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "j") choose(1);
    else if (event.key === "k") choose(-1);
    else if (event.key === "x") document.activeElement.closest("tr")?.querySelector("input[type=checkbox]")?.click();
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
  // what can only be seen by scrolling can be scrolled by keyboard
  const wide = () => document.querySelectorAll(".wide, pre").forEach((one) => {
    if (one.scrollWidth > one.clientWidth) one.tabIndex = 0; else one.removeAttribute("tabindex");
  });
  wide();
  addEventListener("resize", wide);
  // a box that ticks all of its list
  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-all]")) return;
    event.target.closest("table").querySelectorAll("td input[type=checkbox]").forEach((one) => { one.checked = event.target.checked; });
  });
  addEventListener("pageshow", () => document.querySelectorAll("form[method=post] button:disabled:not([data-off])").forEach((one) => { one.disabled = false; }));
})();
