/* Pictures of earlier epochs under a slider, beside the loss at that epoch. Those of a population are of the best
 * member at each epoch, which need not be the one that the page is of: its number is said. */
'use strict';

function showProgress() {
  const { figures: kept, number: own } = contents;
  if (!kept.length) return;
  const { epoch: epochs, panels, best } = contents.curves;
  const holder = el('div', { className: 'figures' });
  const said = el('output', { for: 'epoch' });
  const slider = el('input', {
    type: 'range', id: 'epoch', min: 0, max: kept.length - 1, step: 1, value: kept.length - 1, oninput: () => show(),
  });
  const chosen = {
    epoch: () => kept[slider.value].epoch,
    choose: (epoch) => {
      const distance = (i) => Math.abs(kept[i].epoch - epoch);
      slider.value = [...kept.keys()].reduce((a, b) => (distance(b) < distance(a) ? b : a));
      show();
    },
  };
  const loss = panels.length && epochs.length > 1 ? curve(panels[0], epochs, best, chosen) : null;
  const show = () => {
    const { epoch, member, pictures } = kept[slider.value];
    const whose = member === null ? '' : `, member ${member}`;
    said.textContent = `${epoch}${whose}${epoch === best && member === own ? ', the best' : ''}`;
    slider.setAttribute('aria-valuetext', `epoch ${epoch}${whose}`);
    loss?.mark();
    holder.replaceChildren(...pictures.map(({ name, url }) => el('img', { src: url, alt: `${name} after epoch ${epoch}${whose}` })));
  };
  const of = own === null ? '.' : `, each of the member of the lowest validation loss at that epoch.${loss ? ` The curve is that of member ${own}.` : ''}`;
  section('while-training', 'While it trained',
    el('p', {}, `Pictures of ${kept.length} epochs${of}`, loss ? onScreen(' Move the slider, or click on the curve.') : null),
    el('div', { className: 'bar' }, el('label', { className: 'check', for: 'epoch' }, 'Epoch ', slider), said),
    el('div', { className: loss ? 'progress' : '' }, loss, holder));
  show();
}
