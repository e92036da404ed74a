// Every plot over time says what it shows at the moment under the pointer, all of them at once.
for (const timeline of document.querySelectorAll('.timeline')) {
  const plots = [...timeline.querySelectorAll('[data-hover]')].map((plot) => {
    const [at, text] = JSON.parse(plot.dataset.hover);
    const line = document.createElement('i');
    plot.append(line);
    return { at, text, line, places: at.map(parseFloat), output: plot.parentElement.querySelector('output') };
  });
  const nearest = (places, x) => {
    let low = 0;
    while (low < places.length - 1 && Math.abs(places[low + 1] - x) <= Math.abs(places[low] - x)) low++;
    return low;
  };
  timeline.addEventListener('pointermove', (event) => {
    const box = plots[0].line.parentElement.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * 100;
    timeline.classList.toggle('hovered', x >= 0 && x <= 100);
    for (const { at, text, line, places, output } of plots) {
      const i = nearest(places, x);
      line.style.left = at[i];
      output.textContent = text[i];
    }
  });
  timeline.addEventListener('pointerleave', () => timeline.classList.remove('hovered'));
}
