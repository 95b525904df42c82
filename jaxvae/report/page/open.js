/* What every page does, whatever it shows: it is drawn, or says why not. */
'use strict';

function showNotes() {
  for (const note of contents.notes) document.getElementById('main').append(el('p', { className: 'note' }, note));
}

/** Draw the page by `show`; `data-ready` is set when all of it is there. */
async function openPage(show) {
  try {
    await show();
  } catch (error) {
    document.getElementById('main').prepend(el('p', { className: 'warning', role: 'alert' },
      typeof DecompressionStream === 'undefined'
        ? 'This browser is too old for this page: it needs one of 2023 or newer.'
        : `This page could not be shown: ${error.message}`));
    throw error;
  }
  document.getElementById('footer').append(`Written by ${contents.by}. Everything on this page is in this file.`);
  document.documentElement.dataset.ready = 'yes';
}
