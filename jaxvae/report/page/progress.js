/* Pictures of earlier epochs under a slider, beside the loss at that epoch. */
'use strict';

function showProgress() {
  const kept = contents.figures;
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
    const { epoch, pictures } = kept[slider.value];
    said.textContent = `${epoch}${epoch === best ? ', the best' : ''}`;
    slider.setAttribute('aria-valuetext', `epoch ${epoch}`);
    loss?.mark();
    holder.replaceChildren(...pictures.map(({ name, url }) => el('img', { src: url, alt: `${name} after epoch ${epoch}` })));
  };
  section('while-training', 'While it trained',
    el('p', {}, `Pictures of ${kept.length} epochs.`, loss ? onScreen(' Move the slider, or click on the curve.') : null),
    el('div', { className: 'bar' }, el('label', { className: 'check', for: 'epoch' }, 'Epoch ', slider), said),
    el('div', { className: loss ? 'progress' : '' }, loss, holder));
  show();
}
