/* Reconstructions and samples. */
'use strict';

async function showReconstructions() {
  const groups = contents.reconstructions;
  const noise = contents.noise && ` The model is given them with noise (${contents.noise})${groups[0].inputs ? ', in the middle' : ''}.`;
  const part = section('reconstructions', 'Reconstructions',
    el('p', {}, `Test examples over what the model makes of their codes, with the mean squared error ${PER_VALUE[contents.kind]}.${noise} `
      + `Best and worst are of the ${contents.latents.codes.shape[0].toLocaleString('en')} examples on the map.`));
  for (const group of groups) {
    const originals = await unpack(group.originals);
    const recons = await unpack(group.reconstructions);
    const inputs = group.inputs && await unpack(group.inputs);
    const figures = group.error.map((error, i) => {
      const original = row(originals, group.originals, i);
      const recon = row(recons, group.reconstructions, i);
      const name = className(group.label[i]);
      const what = `test example ${group.index[i]}${name ? `, ${name}` : ''}`;
      const second = picture(recon, `Its reconstruction, error ${number(error, 3)}`);
      if (contents.kind !== 'image') painted(() => draw(second, recon, original));
      return el('figure', { title: what },
        contents.kind === 'image' ? picture(original, what) : null,
        inputs ? picture(row(inputs, group.inputs, i), 'The same with noise') : null, second,
        el('figcaption', {}, number(error, 2)));
    });
    part.append(el('h3', {}, group.name), el('div', { className: 'row' }, ...figures));
  }
  const columns = contents.columns.length ? ` From left to right: ${contents.columns.join(', ')}.` : '';
  if (contents.kind !== 'image') part.append(el('p', { className: 'hint' }, `Grey: the example. Coloured: its reconstruction.${columns}`));
}

async function showSamples(model, explorer) {
  if (!contents.samples) return;
  const drawn = await unpack(contents.samples);
  const nearest = await unpack(contents.nearest);
  const standard = contents.prior === 'standard normal';
  const fresh = standard && model.decoder;
  const grid = el('div', { className: 'row samples' });
  const count = contents.samples.shape[0];
  const said = el('p', { className: 'hint', 'aria-live': 'polite' });
  // Of a conditional model each class in turn.
  const labelOf = (i) => (model.labels ? i % model.labels : -1);
  const sample = (values, i, ...below) => {
    const name = className(labelOf(i));
    return el('figure', {}, name ? el('figcaption', {}, name) : null, picture(values, `Sample ${i + 1} ${name}`), ...below);
  };
  const first = () => {
    said.textContent = `Below each the training example next to it, by squared error.`;
    grid.replaceChildren(...Array.from({ length: count }, (_, i) => sample(row(drawn, contents.samples, i), i,
      picture(row(nearest, contents.nearest, i), 'The training example next to it', 'picture near'))));
  };
  const again = () => {
    said.textContent = 'Drawn here just now; training examples are not in this page to compare with.';
    const length = contents.latents.codes.shape[1];
    grid.replaceChildren(...Array.from({ length: count }, (_, i) => {
      const z = Float32Array.from({ length }, normal);
      return sample(model.decode(z, labelOf(i)), i);
    }));
  };
  const prior = standard ? 'N(0, I)' : 'the model\u2019s own prior';
  const where = fresh ? '' : ' They were drawn when the page was written: the page cannot draw from this prior itself.';
  const button = (text, action) => el('button', { type: 'button', onclick: action }, text);
  const each = model.labels ? ', each class in turn' : '';
  section('samples', 'Samples', el('p', {}, `Decoded from draws of ${prior}${each}.${where}`),
    fresh ? el('div', { className: 'bar' }, button('Draw new ones', again), button('The first again', first)) : null,
    grid, said);
  first();
}
