//! Pairs: ours and the limit, turn by turn, so that a slow moment of the machine slows both.

use std::time::Duration;

use criterion::Criterion;
use memmap2::MmapMut;

use crate::chains;

/// Private memory for a limit, of pages as large as those of what it is compared with.
pub(crate) fn filled(len: usize) -> MmapMut {
    let mut memory = MmapMut::map_anon(len).unwrap();
    // A hint, as in the models.
    #[cfg(target_os = "linux")]
    let _ = memory.advise(memmap2::Advice::HugePage);
    memory.fill(0x5a);
    memory
}

/// What is compared.
pub(crate) struct Pair<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// What a unit of work is called.
    pub(crate) unit: &'a str,
    /// What the limit is.
    pub(crate) limit: &'a str,
    /// Ours over the limit's rate: the least to reach, if there is a goal.
    pub(crate) goal: Option<f64>,
}

impl Pair<'_> {
    /// Measures both; each function does so many units of work and says how long that took. `None` if
    /// it was filtered out.
    pub(crate) fn run(
        &self,
        criterion: &mut Criterion,
        mut limit: impl FnMut(u64) -> Duration,
        mut ours: impl FnMut(u64) -> Duration,
    ) -> Option<Figures> {
        let mut rounds: Vec<[f64; 3]> = Vec::new();
        criterion.bench_function(self.name, |bencher| {
            bencher.iter_custom(|count| {
                let (limit, ours) = (limit(count), ours(count));
                let each = |took: Duration| took.as_secs_f64() / count as f64;
                rounds.push([each(limit), each(ours), chains::side_by_side()]);
                ours
            });
        });
        // The warm-up's rounds grow; only those of the measurement's length count.
        let kept = rounds.len().saturating_sub(11);
        // None at all if criterion was told to run something else.
        let figures = (!rounds.is_empty()).then(|| Figures::of(&rounds[kept..]))?;
        self.print(&figures);
        Some(figures)
    }

    fn print(&self, figures: &Figures) {
        let verdict = match self.goal {
            Some(goal) if figures.ratio[1] >= goal => format!("goal {goal}: met"),
            Some(goal) => format!("goal {goal}: MISSED"),
            None => String::new(),
        };
        let Self { name, unit, limit, .. } = self;
        let [low, median, high] = figures.ratio;
        println!(
            "{name}: {:.3} M {unit}/s; {limit}: {:.3} M/s; ratio {median:.2} ({low:.2} to {high:.2}) {verdict}",
            1e-6 / figures.ours[1],
            1e-6 / figures.limit,
        );
    }
}

/// Seconds per unit, and ratios of rates.
pub(crate) struct Figures {
    pub(crate) limit: f64,
    /// Lower quartile, median, upper quartile.
    pub(crate) ours: [f64; 3],
    /// The same.
    pub(crate) ratio: [f64; 3],
    /// The same, of what [`chains::side_by_side`] said after each turn.
    chains: [f64; 3],
}

impl Figures {
    /// Compares our own rate with a goal in millions per second. Nothing beside it says how fast the machine
    /// was just then, as a ratio does; therefore the turns' quartiles are told, and how much of the core was ours.
    pub(crate) fn print_rate_goal(&self, unit: &str, goal: f64) {
        let [high, rate, low] = self.ours.map(|took| 1e-6 / took);
        let verdict = if rate >= goal { "met" } else { "MISSED" };
        println!(
            "  goal {goal} M {unit}/s: {verdict} ({rate:.2} M, quartiles {low:.2} to {high:.2})"
        );
        let [few, usual, many] = self.chains;
        println!("  the core meanwhile: {usual:.1} of 4 chains at once ({few:.1} to {many:.1})");
    }

    /// Of each round: seconds per unit of the limit and of ours, and chains.
    fn of(rounds: &[[f64; 3]]) -> Self {
        let quartiles = |of: fn(&[f64; 3]) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
        };
        let [_, limit, _] = quartiles(|[limit, ..]| *limit);
        Self {
            limit,
            ours: quartiles(|[_, ours, _]| *ours),
            ratio: quartiles(|[limit, ours, _]| limit / ours),
            chains: quartiles(|[.., chains]| *chains),
        }
    }
}
