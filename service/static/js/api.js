// The only file that talks to the service. Addresses are relative, so that a prefix before them changes nothing.

const KEY = "lungct-key"; // sessionStorage: gone with the tab

/** An answer that is no answer: RFC 9457, or what could be made of it. */
export class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body.detail || body.title || `HTTP ${status}`);
    this.status = status;
    this.kind = (body.type || "").replace("urn:lungct:problem:", "");
    this.title = body.title || `HTTP ${status}`;
    this.reasons = body.reasons || [];
    this.requestId = body.request_id || null;
    this.retryAfterS = Number(retryAfter) || body.retry_after_s || null;
  }
}

/** Nobody answered at all. */
export class Unreachable extends Error {}

export const isKeySet = () => sessionStorage.getItem(KEY) !== null;

export function setKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

const keyHeaders = () => (isKeySet() ? { "X-API-Key": sessionStorage.getItem(KEY) } : {});

function problemOf(status, text, retryAfter) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // a proxy's page
  }
  return new Problem(status, body, retryAfter);
}

/** A response with status 2xx. Throws Problem, Unreachable, or AbortError. */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...options.headers, ...keyHeaders() } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable();
  }
  if (!response.ok) throw problemOf(response.status, await response.text(), response.headers.get("Retry-After"));
  return response;
}

/** POST a file as the raw body. */
export const post = (path, file, signal) => ask(path, { method: "POST", body: file, signal });

/** POST a file and hear how far its bytes have come, 0 to 1; `onSent` when all are there. Throws like ask(). */
export function upload(path, file, { onProgress, onSent, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(keyHeaders())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress(event.total ? event.loaded / event.total : 0);
    request.upload.onload = onSent;
    request.onload = () => {
      const { status, responseText } = request;
      if (status === 200) resolve(JSON.parse(responseText));
      else reject(problemOf(status, responseText, request.getResponseHeader("Retry-After")));
    };
    request.onerror = () => reject(new Unreachable());
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/** A path with a query of what is not null. */
export function withQuery(path, query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}
