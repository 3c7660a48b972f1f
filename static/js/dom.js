/* Short ways to find elements and to listen. */

export function find(selector, root = document) {
  return root.querySelector(selector);
}

export function findAll(selector) {
  return [...document.querySelectorAll(selector)];
}

export function on(type, listener, capture = false) {
  document.addEventListener(type, listener, capture);
}

/** Listen to a named message of the stream; its data is JSON. */
export function onMessage(type, listener) {
  on(type, (event) => listener(JSON.parse(event.detail.data)));
}

/** Return the field that an element belongs to and that takes typed text. */
export function textField(element) {
  return element.closest("input:not([type=checkbox], [type=radio]), textarea, select");
}
