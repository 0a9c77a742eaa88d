"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const themes = read("themes");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Map();

  async function draw(plot, theme) {
    const turn = {};
    drawn.get(plot)?.result?.finalize();
    drawn.set(plot, turn);
    const result = await vegaEmbed(plot, read(plot.dataset.spec), {
      mode: "vega-lite",
      renderer: "svg",
      config: theme,
      actions: { export: true, source: false, compiled: false, editor: false },
      i18n: { SVG_ACTION: "Save as SVG", PNG_ACTION: "Save as PNG", CLICK_TO_VIEW_ACTIONS: "Save this picture" },
      downloadFileName: plot.dataset.name,
      logLevel: 1, // errors only
      tooltip: { theme: "custom" },
    });
    if (drawn.get(plot) === turn) turn.result = result;
    else result.finalize(); // the colour scheme changed again meanwhile
  }

  const drawAll = () => {
    const theme = dark.matches ? themes.dark : themes.light;
    for (const plot of document.querySelectorAll("[data-spec]")) draw(plot, theme).catch(console.error);
  };
  dark.addEventListener("change", drawAll);
  // Paper is white, and what is folded away on a screen cannot be unfolded on paper.
  const details = () => document.querySelectorAll("main details");
  addEventListener("beforeprint", () => details().forEach((one) => { one.dataset.was = one.open; one.open = true; }));
  addEventListener("afterprint", () => details().forEach((one) => { one.open = one.dataset.was === "true"; }));
  drawAll();
})();
