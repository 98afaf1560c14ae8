/** Building blocks of the page: elements whose text is only ever text, links that are only links. */

const LINKS = new Set(["http:", "https:", "mailto:", "tel:"]);
const IMAGES = new Set(["http:", "https:"]);

/**
 * Makes an element. Properties are set, never parsed; children that are strings become text.
 *
 * @param {string} tag
 * @param {object} [properties] of the element, such as className, textContent, title
 * @param {...(Node|string|null)} children
 * @returns {HTMLElement}
 */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** An outside link to a URL that is safe to click, else null. */
export function link(url, properties, ...children) {
  const href = allowed(url, LINKS);
  if (href === null) return null;
  const where = href.startsWith("http") ? { target: "_blank", rel: "noopener noreferrer" } : {};
  return make("a", { href, ...where, ...properties }, ...children);
}

/** The address of a picture that is safe to load, else null. */
export function imageUrl(url) {
  return allowed(url, IMAGES);
}

/** What the URL parser makes of it decides, as it will when the link is followed. */
function allowed(url, protocols) {
  if (typeof url !== "string" || !URL.canParse(url, document.baseURI)) return null;
  const { protocol, href } = new URL(url, document.baseURI);
  return protocols.has(protocol) ? href : null;
}

/** A string that has something to show, else null. */
export function text(value) {
  return typeof value === "string" && value.trim() !== "" ? value : null;
}

/** The element with this id; the page is made with all of them. */
export function byId(id) {
  return document.getElementById(id);
}
