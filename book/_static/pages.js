/* Figures and tables, and names of controls.

   "Larger" under a figure, and a tap on it: the picture at a size at which its letters can be read,
   in a window that scrolls. Without scripts both are links to the picture.

   A table that goes on beyond its region's edge fades there, until it is scrolled to its end. On a
   phone a row of a table that holds words becomes a block, each cell behind its column's name. */

(() => {
  "use strict";

  let dialog;

  function make() {
    dialog = document.createElement("dialog");
    dialog.className = "figure-window";
    dialog.innerHTML =
      '<form method="dialog"><button class="figure-close">Close</button></form>' +
      '<div class="figure-scroll" tabindex="0" role="region"></div>';
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
    document.body.append(dialog);
  }

  function open(figure) {
    if (!dialog) make();
    const place = dialog.querySelector(".figure-scroll");
    const number = figure.querySelector(".caption-number")?.textContent.trim() ?? "Figure";
    dialog.setAttribute("aria-label", `${number}, enlarged`);
    place.setAttribute("aria-label", `${number}: scroll to see all of it`);
    place.replaceChildren(
      ...[...figure.querySelectorAll(".figure-picture img")].map((image) => {
        const copy = image.cloneNode();
        copy.loading = "eager";
        return copy;
      }),
    );
    dialog.showModal();
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest(".figure-picture, .figure-larger");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(link.closest("figure"));
  });

  function fade(region) {
    const rest = region.scrollWidth - region.clientWidth - region.scrollLeft;
    region.classList.toggle("goes-on", rest > 2);
  }

  /** Put each column's name into its cells, for phones (book.css shows it there). */
  function name(table) {
    const heads = table.tHead.rows[0].cells;
    for (const row of table.tBodies[0].rows) {
      for (const cell of row.querySelectorAll("td:not(:empty)")) {
        const label = document.createElement("span");
        label.className = "column-name";
        label.append(...heads[cell.cellIndex].cloneNode(true).childNodes, ": ");
        cell.prepend(label);
      }
    }
    table.classList.add("named-cells");
  }

  /** A link to what is folded away opens the fold. */
  function unfold() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) {
      fold.open = true;
    }
    if (target?.closest("details")) target.scrollIntoView();
  }
  window.addEventListener("hashchange", unfold);

  document.addEventListener("DOMContentLoaded", () => {
    unfold();
    const observer = new ResizeObserver((seen) => seen.forEach((one) => fade(one.target)));
    for (const region of document.querySelectorAll(".table-region, .pst-scrollable-table-container")) {
      region.addEventListener("scroll", () => fade(region), { passive: true });
      observer.observe(region);
    }
    document.querySelectorAll(".book-table:not(:has(thead tr + tr)):has(thead .words)").forEach(name);
    // Of each kind of menu button the theme's script hears the first, which this theme hides
    // (pydata-sphinx-theme 0.17 under sphinx-book-theme 1.3). Where there is nothing to open, the
    // button goes.
    for (const [kind, opens] of [["primary", "#pst-primary-sidebar"],
      ["secondary", "#pst-secondary-sidebar"]]) {
      const [heard, ...seen] = document.querySelectorAll(`.${kind}-toggle`);
      for (const button of seen) {
        if (document.querySelector(opens)) button.addEventListener("click", () => heard.click());
        else button.remove();
      }
    }
    // The theme gives some controls another name than the text they show, which those who speak to
    // their browser would not guess.
    for (const control of document.querySelectorAll("summary[aria-label], .search-button-field")) {
      control.removeAttribute("aria-label");
    }
    // Its entries are no list items but entries of a bibliography.
    document.querySelector(".citation-list")?.removeAttribute("role");
  });
})();
