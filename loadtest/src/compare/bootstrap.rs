//! The interval in which a figure would lie if the same were measured again, by drawing again from what was measured.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const DRAWS: usize = 2000;
/// The same files give the same answer.
const SEED: u64 = 1;

/// 95 % of what is drawn lies between the two.
pub(super) fn interval(mut draw: impl FnMut(&mut StdRng) -> f64) -> [f64; 2] {
    let mut chance = StdRng::seed_from_u64(SEED);
    let mut drawn: Vec<f64> = (0..DRAWS).map(|_| draw(&mut chance)).collect();
    drawn.sort_unstable_by(f64::total_cmp);
    let cut = DRAWS / 40;
    [drawn[cut], drawn[DRAWS - 1 - cut]]
}

/// As many as there are, each of them any of them.
pub(super) fn again<T, R>(
    from: &[T],
    chance: &mut StdRng,
    mut take: impl FnMut(&T, &mut StdRng) -> R,
) -> Vec<R> {
    let mut one = |_| {
        let drawn = &from[chance.random_range(0..from.len())];
        take(drawn, chance)
    };
    (0..from.len()).map(&mut one).collect()
}
