/* "Larger" under a figure, and a tap on it: the picture at a size at which its letters can be read,
   in a window that scrolls. Without scripts both are links to the picture. */

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
})();
