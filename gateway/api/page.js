"use strict";
// What every page of ours builds itself with. What comes from elsewhere becomes text nodes, never markup.
function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== ""));
  return node;
}
function themeButton() {
  const themes = { light: "dark", dark: "light" }, button = make("button", { type: "button" }, "light / dark");
  button.onclick = () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    document.documentElement.dataset.theme = themes[document.documentElement.dataset.theme || dark];
  };
  return button;
}
