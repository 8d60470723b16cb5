/** Connects a page of a Django project; rendered by {% zephserver_client %}, which says where and with which token. */
(function () {
  'use strict';
  const { url, token, tokenUrl } = document.currentScript.dataset;
  let first = token; // it is good for a minute from when the page was made

  async function getToken() {
    const given = first;
    first = undefined;
    if (given || !tokenUrl) return given ?? null; // on the same host the session cookie tells who it is
    const response = await fetch(tokenUrl, { cache: 'no-store', credentials: 'same-origin' });
    if (!response.ok) throw new Error(`${tokenUrl} answered ${response.status}`);
    return (await response.json()).token;
  }

  window.zephserver = {
    /** A Zephclient for this page, known as who is logged in: zephserver.connect({ room: 'lobby' }). */
    connect: (options = {}) => new window.Zephclient({ url, getToken, ...options }),
  };
})();
