// Pictures of one image side by side, enlarged: what is done to one of them is done to all.
"use strict";
(() => {
  const LARGEST = 64, STEP = 1.3, SPOT = 7;
  const groups = [...document.querySelectorAll(".panels")];
  if (!groups.length || !window.HTMLDialogElement) return;

  const make = (tag, name, text = "") => {
    const element = document.createElement(tag);
    element.className = name;
    element.textContent = text;
    return element;
  };
  const dialog = make("dialog", "viewer"), bar = make("div", "viewer-bar"), stage = make("div", "viewer-stage");
  const title = make("b", ""), legend = make("div", "legend");
  bar.append(title);
  dialog.append(bar, stage, legend);
  dialog.tabIndex = -1;
  document.body.append(dialog);

  let current = 0, pictures = [], width = 1, height = 1, zoom = 1, x = 0, y = 0;

  function show() {
    zoom = Math.min(Math.max(zoom, 1), LARGEST);
    // What is shown stays within the picture.
    x = Math.min(Math.max(x, width / zoom / 2), width - width / zoom / 2);
    y = Math.min(Math.max(y, height / zoom / 2), height - height / zoom / 2);
    const box = [x - width / zoom / 2, y - height / zoom / 2, width / zoom, height / zoom].join(" ");
    for (const picture of pictures) picture.setAttribute("viewBox", box);
  }

  function zoomBy(factor, at = { x, y }) {
    const before = zoom;
    zoom = Math.min(Math.max(zoom * factor, 1), LARGEST);
    x = at.x + (x - at.x) * before / zoom;
    y = at.y + (y - at.y) * before / zoom;
    show();
  }

  function fit() {
    [zoom, x, y] = [1, width / 2, height / 2];
    show();
  }

  function arrange() {
    const number = pictures.length, area = stage.getBoundingClientRect();
    const scale = (columns) => {
      const rows = Math.ceil(number / columns);
      return Math.min(area.width / columns / width, area.height / rows / height);
    };
    let best = 1;
    for (let columns = 2; columns <= number; columns++) if (scale(columns) > scale(best)) best = columns;
    stage.style.gridTemplateColumns = `repeat(${best}, minmax(0, 1fr))`;
    stage.style.gridAutoRows = "minmax(0, 1fr)";
  }

  function open(number) {
    current = (number + groups.length) % groups.length;
    const group = groups[current];
    title.textContent = group.dataset.name;
    dialog.setAttribute("aria-label", group.dataset.name);
    stage.replaceChildren(...[...group.children].map((panel) => panel.cloneNode(true)));
    legend.innerHTML = group.nextElementSibling.innerHTML;
    pictures = [...stage.querySelectorAll("svg")];
    [, , width, height] = pictures[0].getAttribute("viewBox").split(" ").map(Number);
    for (const picture of pictures) {
      picture.querySelectorAll("[id]").forEach((element) => element.removeAttribute("id"));
      const spot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      spot.setAttribute("class", "spot");
      picture.append(spot);
    }
    if (!dialog.open) {
      dialog.showModal();
      // The keys are the dialog's; no button shall stand out.
      dialog.focus();
    }
    arrange();
    fit();
  }

  // Where an event is in the picture that it happened over, in pixels of the photograph.
  function place(event) {
    const picture = event.target.closest?.("svg") ?? pictures[0];
    return new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
  }

  function mark(point) {
    const radius = SPOT / pictures[0].getScreenCTM().a;
    for (const picture of pictures) {
      const spot = picture.lastElementChild;
      for (const [name, value] of [["cx", point.x], ["cy", point.y], ["r", radius]]) spot.setAttribute(name, value);
    }
  }

  const fingers = new Map();
  const middle = () => {
    const all = [...fingers.values()], mean = (key) => all.reduce((sum, each) => sum + each[key], 0) / all.length;
    const [clientX, clientY] = [mean("clientX"), mean("clientY")];
    const spread = all.length > 1 ? Math.hypot(all[0].clientX - all[1].clientX, all[0].clientY - all[1].clientY) : 1;
    return { clientX, clientY, spread, target: all[0].target };
  };
  const lift = (event) => fingers.delete(event.pointerId);

  stage.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    const start = fingers.get(event.pointerId);
    if (!start) return mark(place(event));
    const before = middle();
    // The events of a captured pointer are the stage's; it stays over the picture that it was set on.
    const now = { pointerId: event.pointerId, clientX: event.clientX, clientY: event.clientY, target: start.target };
    fingers.set(event.pointerId, now);
    const after = middle(), from = place(before), to = place(after);
    [x, y] = [x + from.x - to.x, y + from.y - to.y];
    zoomBy(after.spread / before.spread, from);
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, lift);
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), place(event));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => zoomBy(STEP * STEP, place(event)));

  const move = (right, down) => { [x, y] = [x + right * width / zoom / 8, y + down * height / zoom / 8]; show(); };
  const keys = {
    "+": () => zoomBy(STEP), "=": () => zoomBy(STEP), "-": () => zoomBy(1 / STEP), "_": () => zoomBy(1 / STEP), "0": fit,
    ArrowLeft: () => move(-1, 0), ArrowRight: () => move(1, 0), ArrowUp: () => move(0, -1), ArrowDown: () => move(0, 1),
    PageUp: () => open(current - 1), PageDown: () => open(current + 1),
  };
  dialog.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
  const buttons = [
    ["‹", "Previous image", keys.PageUp], ["›", "Next image", keys.PageDown], ["−", "Smaller", keys["-"]],
    ["+", "Larger", keys["+"]], ["⤢", "Whole image", fit], ["✕", "Close", () => dialog.close()],
  ];
  for (const [sign, name, action] of groups.length > 1 ? buttons : buttons.slice(2)) {
    const button = make("button", "", sign);
    button.type = "button";
    button.title = name;
    button.setAttribute("aria-label", name);
    button.addEventListener("click", action);
    bar.append(button);
  }
  dialog.addEventListener("close", () => {
    stage.replaceChildren();
    groups[current].focus();
  });
  window.addEventListener("resize", () => dialog.open && arrange());

  groups.forEach((group, number) => {
    group.tabIndex = 0;
    group.setAttribute("role", "button");
    group.setAttribute("aria-label", `Enlarge ${group.dataset.name}`);
    group.addEventListener("click", () => open(number));
    group.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      open(number);
    });
  });
  document.querySelectorAll(".views-hint").forEach((hint) => { hint.hidden = false; });
})();
