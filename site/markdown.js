/** A model's Markdown as DOM, made harmless: what a model says can be looked at and never runs or loads anything. */
import DOMPurify from '/vendor/dompurify@3.4.18/purify.es.mjs';
import { marked } from '/vendor/marked@18.2.1/marked.esm.js';

const ALLOWED = {
  ALLOWED_TAGS: ['p', 'br', 'hr', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'strong', 'em', 'del', 'code', 'pre', 'blockquote',
    'ul', 'ol', 'li', 'a', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'sup', 'sub'],
  ALLOWED_ATTR: ['href', 'start', 'align'],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
marked.use({ gfm: true, breaks: true, renderer: { html: ({ text }) => escaped(text) } });

function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** The text as nodes to put into the page. */
export function rendered(text) {
  const nodes = DOMPurify.sanitize(marked.parse(text, { async: false }), ALLOWED);
  for (const link of nodes.querySelectorAll('a')) {
    link.target = '_blank';
    link.rel = 'noopener noreferrer nofollow';
  }
  return nodes;
}
