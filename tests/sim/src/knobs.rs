//! The settings of one world, drawn from its seed, so that each seed looks elsewhere.

use heddle_core::limits;

use super::random::Random;

/// A range of milliseconds or counts, both ends included.
pub(super) type Range = (u64, u64);

/// What a world is like.
#[derive(Debug)]
pub(super) struct Knobs {
    pub(super) partitions: u16,
    pub(super) agents: usize,
    pub(super) slots: u32,
    /// Places in an agent's queue.
    pub(super) prefetch: u32,
    pub(super) clients: usize,
    pub(super) submissions: usize,
    /// Idempotency keys that clients share.
    pub(super) keys: usize,
    pub(super) keyed_percent: u64,
    pub(super) cancel_percent: u64,
    pub(super) graphs: usize,
    pub(super) nodes: Range,
    pub(super) effects: Effects,
    pub(super) wait_percent: u64,
    /// How many of the nodes decide which way a run goes.
    pub(super) branch_percent: u64,
    /// How many of the nodes have a body, cut lists, or run once per item.
    pub(super) scope_percent: u64,
    /// Whether branches race.
    pub(super) has_races: bool,
    /// Items of the longest lists.
    pub(super) longest_list: u64,
    /// How many of the nodes refuse some of their inputs.
    pub(super) refuse_percent: u64,
    /// How many of them make what is too large for a row.
    pub(super) large_percent: u64,
    /// Bytes of values that partitions keep at hand for decisions.
    pub(super) recent_values: usize,
    pub(super) wait_ms: Range,
    pub(super) work_ms: Range,
    pub(super) fail_percent: u64,
    pub(super) poison_percent: u64,
    /// How many of the nodes that agents run have failures caught, or others to fall back on.
    pub(super) policy_percent: u64,
    /// How many of them share a limit.
    pub(super) shared_percent: u64,
    /// Agents go on with what they were told to stop, and send what nobody wants.
    pub(super) has_zombies: bool,
    pub(super) link_ms: Range,
    pub(super) commit_ms: Range,
    pub(super) read_ms: Range,
    pub(super) wake_ms: Range,
    pub(super) reload_ms: Range,
    /// Commands that a partition takes at one wake-up.
    pub(super) wake_commands: usize,
    pub(super) commit_fault_percent: u64,
    pub(super) spoilt_run_percent: u64,
    pub(super) faults: usize,
    /// Faults begin within this time.
    pub(super) trouble_ms: u64,
    pub(super) batch_percent: u64,
    pub(super) batch_runs: u32,
    /// Runs of one batch that are under way at the same time.
    pub(super) batch_under_way: usize,
    /// Clients that go on from a run of theirs that is over.
    pub(super) resume_percent: u64,
    /// Messages between slots, and hints, that do not arrive.
    pub(super) lost_percent: u64,
    /// How many of the nodes ask people.
    pub(super) review_percent: u64,
    /// How many of those that agents run share their results among runs.
    pub(super) cache_percent: u64,
    /// How many of the nodes wait for a word from outside.
    pub(super) listen_percent: u64,
    /// Whoever gives it draws from this.
    pub(super) outside: u64,
    /// How many of the runs that clients have started they pause for a while.
    pub(super) pause_percent: u64,
    /// How many of the nodes run another graph.
    pub(super) child_percent: u64,
    /// How many of the runs, and half as many of the graphs, say how long a run may be active.
    pub(super) deadline_percent: u64,
    pub(super) deadline_ms: Range,
    /// Which of them is drawn from this.
    pub(super) deadlines: u64,
    /// How often somebody pauses a type of nodes for a while.
    pub(super) type_pauses: usize,
    /// Whoever does so draws from this.
    pub(super) operator: u64,
}

/// Which effect classes nodes have.
#[derive(Debug, Clone, Copy)]
pub(super) enum Effects {
    Pure,
    Mixed,
    Paid,
}

impl Knobs {
    pub(super) fn draw(random: &mut Random) -> Self {
        let small = random.percent(50);
        // Much work and hardly anybody to do it: permits are always waited for.
        let is_crowded = random.percent(15);
        let poison_percent = random.pick(&[0, 0, 0, 40]);
        let branch_percent = random.pick(&[0, 30, 60]);
        let scope_percent = random.pick(&[0, 0, 30, 60]);
        Self {
            partitions: random.between((1, 3)) as u16,
            agents: if is_crowded { 1 } else { random.between((1, 3)) as usize },
            slots: if is_crowded { 1 } else { random.between((1, 3)) as u32 },
            prefetch: if random.percent(40) { random.between((1, 2)) as u32 } else { 0 },
            clients: random.between((1, 3)) as usize,
            submissions: random.between(if is_crowded { (4, 6) } else { (1, if small { 2 } else { 5 }) }) as usize,
            keys: random.between((1, 3)) as usize,
            keyed_percent: random.pick(&[0, 50, 90]),
            cancel_percent: random.pick(&[0, 10, 50]),
            graphs: random.between((1, 2)) as usize,
            nodes: match (small, branch_percent + scope_percent) {
                (true, 0) => (1, 3),
                (true, _) => (2, 6),
                (false, 0) => (2, 7),
                (false, _) => (4, 12),
            },
            branch_percent,
            scope_percent,
            has_races: random.percent(50),
            longest_list: random.pick(&[1, 3, 3, 8, 40]),
            refuse_percent: random.pick(&[0, 0, 20]),
            large_percent: random.pick(&[0, 0, 40]),
            recent_values: random.pick(&[0, 500, limits::RECENT_VALUES_BYTES_MAX]),
            effects: random.pick(&[Effects::Pure, Effects::Mixed, Effects::Paid]),
            wait_percent: random.pick(&[0, 0, 20, 50]),
            wait_ms: random.pick(&[(0, 50), (100, 3_000), (6_000, 15_000)]),
            work_ms: random.pick(&[(0, 5), (10, 200), (200, 2_000), (2_000, 8_000)]),
            fail_percent: random.pick(&[0, 0, 10, 40]),
            poison_percent,
            policy_percent: random.pick(&[0, 0, 40]),
            shared_percent: random.pick(&[0, 0, 50, 90]),
            // A zombie that is poison as well would die more often than the engine can know.
            has_zombies: poison_percent == 0 && random.percent(40),
            link_ms: random.pick(&[(0, 1), (1, 10), (5, 80)]),
            commit_ms: random.pick(&[(0, 1), (1, 10), (5, 100), (50, 600)]),
            read_ms: random.pick(&[(0, 1), (1, 20), (10, 200)]),
            wake_ms: if is_crowded { (1, 20) } else { random.pick(&[(0, 0), (0, 2), (1, 20)]) },
            reload_ms: random.pick(&[(1, 20), (20, 500), (500, 3_000)]),
            wake_commands: if is_crowded { 4 } else { random.pick(&[4, 32, 512]) },
            commit_fault_percent: if is_crowded { 10 } else { random.pick(&[0, 0, 2, 10]) },
            spoilt_run_percent: random.pick(&[0, 0, 0, 15]),
            faults: random.below(4) + usize::from(is_crowded),
            trouble_ms: random.pick(&[300, 2_000, 10_000]),
            batch_percent: random.pick(&[0, 0, 60]),
            batch_runs: random.between((1, 8)) as u32,
            batch_under_way: random.between((1, 4)) as usize,
            lost_percent: random.pick(&[0, 10, 40]),
            resume_percent: random.pick(&[0, 0, 70]),
            review_percent: random.pick(&[0, 0, 30]),
            cache_percent: 0,
            listen_percent: 0,
            outside: 0,
            pause_percent: 0,
            child_percent: 0,
            deadline_percent: 0,
            deadline_ms: (1, 1),
            deadlines: 0,
            type_pauses: 0,
            operator: 0,
        }
    }

    /// The same world, in which results are shared or not: that is drawn beside, so that it changes nothing else.
    pub(super) fn with_cache(self, seed: u64) -> Self {
        const BESIDE: u64 = 0x5EED_CACE;
        Self { cache_percent: Random::from_seed(seed ^ BESIDE).pick(&[0, 0, 60]), ..self }
    }

    /// The same world, in which nodes listen to the world or do not: drawn beside, too.
    pub(super) fn with_listeners(self, seed: u64) -> Self {
        const BESIDE: u64 = 0x5EED_0E42;
        let mut random = Random::from_seed(seed ^ BESIDE);
        Self { listen_percent: random.pick(&[0, 0, 0, 40]), outside: random.next(), ..self }
    }

    /// The same world, in which runs are paused or not, drawn beside as well.
    pub(super) fn with_pauses(self, seed: u64) -> Self {
        const BESIDE: u64 = 0x5EED_57A4_D000;
        Self { pause_percent: Random::from_seed(seed ^ BESIDE).pick(&[0, 0, 0, 60]), ..self }
    }

    /// The same world, in which nodes run other graphs or none does: drawn beside, too.
    pub(super) fn with_children(self, seed: u64) -> Self {
        const BESIDE: u64 = 0x5EED_C41D;
        Self { child_percent: Random::from_seed(seed ^ BESIDE).pick(&[0, 0, 20, 40]), ..self }
    }

    /// The same world, in which runs have deadlines or do not: drawn beside, too.
    pub(super) fn with_deadlines(self, seed: u64) -> Self {
        const BESIDE: u64 = 0x5EED_DEAD;
        let mut random = Random::from_seed(seed ^ BESIDE);
        let deadline_percent = random.pick(&[0, 0, 0, 60]);
        let deadline_ms = random.pick(&[(1, 300), (200, 3_000), (3_000, 20_000)]);
        Self { deadline_percent, deadline_ms, deadlines: random.next(), ..self }
    }

    /// The same world, in which types of nodes are paused or none is: drawn beside, too.
    pub(super) fn with_type_pauses(self, seed: u64) -> Self {
        const BESIDE: u64 = 0x5EED_57A4_0000;
        let mut random = Random::from_seed(seed ^ BESIDE);
        Self { type_pauses: random.pick(&[0, 0, 0, 1, 3]), operator: random.next(), ..self }
    }

    /// Whether runs are of more than one tenant. Limits on what is at work are counted for one.
    pub(super) fn has_tenants(&self) -> bool {
        self.cache_percent > 0 && self.shared_percent == 0
    }
}
