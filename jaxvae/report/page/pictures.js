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

/** What samples are decoded from, and what is to be known of it. */
function describePrior() {
  switch (contents.prior) {
    case 'standard normal': return ['draws of N(0, I)', ''];
    case 'categories': return [`draws of ${contents.latents.categories.from ? 'N(0, I) and of ' : ''}categories, all as likely`, ''];
    case 'codes': return ['codes drawn at every position, all as likely',
      ' Each position is drawn by itself, which those of an example are not: to draw whole examples would take a model of the codes.'];
    default: return contents.drawn
      ? [`${contents.samples.shape[0]} of ${contents.drawn.shape[0]} codes drawn from the model\u2019s prior`, ' The page holds these, since it cannot draw from this prior itself.']
      : ['draws of the model\u2019s own prior', ''];
  }
}

async function showSamples(model) {
  if (!contents.samples) {
    section('samples', 'Samples', el('p', {}, 'This model has no prior: nothing says how its codes are distributed, so there is nothing to draw samples from. '
      + 'A density of its codes is fitted by jaxvae fit, and drawn from by jaxvae sample --prior fitted.'));
    return;
  }
  const drawn = await unpack(contents.samples);
  const nearest = await unpack(contents.nearest);
  const fresh = model.draws && model.decoder;
  const grid = el('div', { className: 'row samples' });
  const count = contents.samples.shape[0];
  const said = el('p', { className: 'hint', 'aria-live': 'polite' });
  // Of a conditional model each class in turn, or new ones of the class that is chosen.
  const inTurn = (i) => (model.labels ? i % model.labels : -1);
  const sample = (values, i, label, ...below) => {
    const name = className(label);
    return el('figure', {}, name ? el('figcaption', {}, name) : null, picture(values, `Sample ${i + 1} ${name}`), ...below);
  };
  const first = () => {
    if (classes) classes.value = '';
    said.textContent = `Below each the training example next to it, by squared error.`;
    grid.replaceChildren(...Array.from({ length: count }, (_, i) => sample(row(drawn, contents.samples, i), i, inTurn(i),
      picture(row(nearest, contents.nearest, i), 'The training example next to it', 'picture near'))));
  };
  const again = () => {
    said.textContent = 'Decoded here just now; training examples are not in this page to compare with.';
    grid.replaceChildren(...Array.from({ length: count }, (_, i) => {
      const label = classes?.value ? Number(classes.value) : inTurn(i);
      return sample(model.decode(model.fromPrior(), label), i, label);
    }));
  };
  const classes = !model.labels || !contents.classes.length ? null : el('select', { id: 'samples-class', onchange: again },
    el('option', { value: '' }, 'each in turn'), ...contents.classes.map((name, index) => el('option', { value: index }, name)));
  const [from, note] = describePrior();
  const lacks = contents.prior && !model.decoder ? 'does not hold the decoder' : 'cannot draw from this prior itself';
  const where = fresh ? '' : ` They were drawn when the page was written: the page ${lacks}.`;
  const button = (text, action) => el('button', { type: 'button', onclick: action }, text);
  section('samples', 'Samples', el('p', {}, `Decoded from ${from}${model.labels ? ', each class in turn' : ''}.${note}${where}`),
    fresh ? el('div', { className: 'bar' }, button('Draw new ones', again), button('The first again', first),
      classes && el('label', { className: 'check', for: 'samples-class' }, 'of class ', classes)) : null,
    grid, said);
  first();
}
