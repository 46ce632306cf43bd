//! Congestion control: slow start and CUBIC (RFC 9438), with the initial window of RFC 6928.
//! Integers only: bytes and milliseconds.
//!
//! Upstream: acknowledgements and losses, as [`control`](super::control) sees them. Downstream:
//! how many bytes may be in flight.

use core::time::Duration;
use kernel::Instant;

/// Multiplicative decrease, β = 0.7, in tenths (RFC 9438 §4.6).
const BETA_TENTHS: u64 = 7;
/// Farther from the plateau than this the curve is not computed: it is bounded elsewhere by then.
const CURVE_MAX_MS: i64 = 60_000;

/// The congestion window of one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cubic {
    /// Bytes that may be in flight.
    window: u32,
    /// Above this many bytes the window follows the curve instead of doubling.
    threshold: u32,
    /// The window before the last decrease: the curve's plateau.
    plateau: u32,
    /// When the curve began, once it has.
    epoch: Option<Instant>,
    /// When the curve reaches the plateau, in milliseconds after its epoch.
    plateau_ms: u32,
    /// What Reno would have by now (RFC 9438 §4.3).
    reno: u32,
}

impl Cubic {
    /// The window of a new connection (RFC 6928 §2), or, when its handshake lost segments more
    /// than once, one segment (RFC 5681 §3.1).
    pub(crate) fn new(mss: u32, handshake_lost: bool) -> Self {
        let initial = (10 * mss).min((2 * mss).max(14_600));
        Cubic {
            window: if handshake_lost { mss } else { initial },
            threshold: u32::MAX,
            plateau: 0,
            epoch: None,
            plateau_ms: 0,
            reno: 0,
        }
    }

    /// Returns how many bytes may be in flight.
    #[inline]
    pub(crate) fn window(&self) -> u32 {
        self.window
    }

    /// Takes in that `acked` bytes were acknowledged while `in_flight` were on their way before.
    /// A window that was not used is not raised (RFC 9438 §5.8, RFC 7661).
    #[inline]
    pub(crate) fn on_ack(
        &mut self,
        acked: u32,
        in_flight: u32,
        mss: u32,
        round_trip: Duration,
        now: Instant,
    ) {
        let is_slow_start = self.window < self.threshold;
        let used = if is_slow_start {
            in_flight.saturating_mul(2)
        } else {
            in_flight.saturating_add(2 * mss)
        };
        if used < self.window {
            // Nor does it grow by the time meanwhile: the curve begins anew.
            self.epoch = None;
            return;
        }
        if is_slow_start {
            self.window = self
                .window
                .saturating_add(acked)
                .min(self.threshold.max(self.window));
        } else {
            self.follow_curve(acked, mss, round_trip, now);
        }
    }

    /// Congestion avoidance (RFC 9438 §4.2–§4.5).
    fn follow_curve(&mut self, acked: u32, mss: u32, round_trip: Duration, now: Instant) {
        let mss = u64::from(mss.max(1));
        let window = u64::from(self.window);
        let epoch = *self.epoch.get_or_insert_with(|| {
            self.reno = self.window;
            self.plateau = self.plateau.max(self.window);
            // K = cbrt((plateau - window) / C), C = 0.4 segments per cubic second.
            let missing = u64::from(self.plateau - self.window) * 1000 / mss;
            self.plateau_ms = cube_root(missing * 2_500_000) as u32;
            now
        });
        let elapsed = now.saturating_since(epoch);
        let curve = |at: Duration| {
            let from_plateau = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
            let from_plateau = from_plateau.saturating_sub(self.plateau_ms.into());
            let from_plateau = from_plateau.clamp(-CURVE_MAX_MS, CURVE_MAX_MS);
            // 0.4 segments per cubic second, in bytes per cubic millisecond: at most
            // 2.2e14 * 2 * 65535, which fits.
            let gained = from_plateau.pow(3) / 1_000_000 * 2 * mss as i64 / 5_000;
            u64::try_from(i64::from(self.plateau).saturating_add(gained)).unwrap_or(0)
        };
        // §4.3: Reno's gain is α segments per window, α = 3 (1 - β) / (1 + β) = 9/17 until it is
        // back at the plateau, 1 from there on.
        let gain = u64::from(acked) * mss / window.max(1);
        let below = u64::from(self.reno) < u64::from(self.plateau);
        let gain = if below { gain * 9 / 17 } else { gain };
        self.reno = u32::try_from(u64::from(self.reno) + gain).unwrap_or(u32::MAX);
        let raised = if curve(elapsed) < u64::from(self.reno) {
            window.max(self.reno.into())
        } else {
            let target = curve(elapsed + round_trip).clamp(window, window + window / 2);
            window + (target - window) * u64::from(acked).min(window) / window.max(1)
        };
        self.window = u32::try_from(raised).unwrap_or(u32::MAX);
    }

    /// Takes in that the network has lost something, once per window (RFC 9438 §4.6, §4.7).
    pub(crate) fn on_loss(&mut self, mss: u32) {
        let window = u64::from(self.window);
        // Fast convergence: one that shrinks twice leaves room to others.
        let is_below = self.window < self.plateau;
        let plateau = if is_below {
            window * (10 + BETA_TENTHS) / 20
        } else {
            window
        };
        self.plateau = plateau as u32;
        self.threshold = ((window * BETA_TENTHS / 10) as u32).max(2 * mss);
        self.window = self.threshold;
        self.epoch = None;
    }

    /// Takes in that the retransmission timeout has passed with `in_flight` bytes on their way
    /// (RFC 5681 §3.1, RFC 9438 §4.8). `is_first`: not a timeout of what was already sent again.
    pub(crate) fn on_timeout(&mut self, in_flight: u32, mss: u32, is_first: bool) {
        if is_first {
            self.on_loss(mss);
            self.threshold = (in_flight / 2).max(2 * mss).min(self.threshold);
        }
        self.window = mss;
        self.epoch = None;
    }

    /// Takes in that nothing was sent for longer than a timeout: what was learnt of the path is
    /// old (RFC 5681 §4.1).
    pub(crate) fn on_idle(&mut self, mss: u32) {
        self.window = self.window.min(Cubic::new(mss, false).window);
        self.epoch = None;
    }
}

/// Returns the cube root, rounded down.
fn cube_root(value: u64) -> u64 {
    let mut root = 0u64;
    for bit in (0..21).rev() {
        let wider = root | 1 << bit;
        if wider.pow(3) <= value {
            root = wider;
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1460;
    const ROUND_TRIP: Duration = Duration::from_millis(50);

    /// Acknowledges whole windows, one per round trip, for so many round trips.
    fn run(cubic: &mut Cubic, round_trips: u32, now: &mut Instant) {
        for _ in 0..round_trips {
            let window = cubic.window();
            for _ in 0..window / MSS {
                cubic.on_ack(MSS, cubic.window(), MSS, ROUND_TRIP, *now);
            }
            *now = *now + ROUND_TRIP;
        }
    }

    #[test]
    fn cube_roots_are_exact_at_the_edges() {
        for root in [0u64, 1, 2, 9, 10, 1000, 1_000_000, 2_000_000] {
            assert_eq!(cube_root(root.pow(3)), root);
            assert_eq!(cube_root(root.pow(3) + 1), root.max(u64::from(root == 0)));
        }
        assert_eq!(cube_root(u64::MAX), (1 << 21) - 1);
    }

    #[test]
    fn slow_start_doubles_per_round_trip_and_only_what_is_used_grows() {
        let mut cubic = Cubic::new(MSS, false);
        assert_eq!(cubic.window(), 14_600);
        assert_eq!(Cubic::new(MSS, true).window(), MSS);
        assert_eq!(Cubic::new(536, false).window(), 5360);
        let mut now = Instant::ZERO;
        run(&mut cubic, 3, &mut now);
        assert_eq!(cubic.window(), 14_600 * 8);
        cubic.on_ack(MSS, MSS, MSS, ROUND_TRIP, now);
        assert_eq!(
            cubic.window(),
            14_600 * 8,
            "an idle application raises nothing"
        );
        cubic.on_idle(MSS);
        assert_eq!(cubic.window(), 14_600);
    }

    #[test]
    fn after_a_loss_the_window_returns_to_the_plateau_at_the_time_of_the_curve() {
        let mut cubic = Cubic::new(MSS, false);
        let mut now = Instant::ZERO;
        while cubic.window() < 1000 * MSS {
            run(&mut cubic, 1, &mut now);
        }
        let before = cubic.window();
        cubic.on_loss(MSS);
        assert_eq!(cubic.window(), (u64::from(before) * 7 / 10) as u32);
        // K = cbrt(0.3 * W / 0.4) seconds, W in segments.
        let segments = f64::from(before) / f64::from(MSS);
        let plateau_s = (segments * 0.3 / 0.4).cbrt();
        let round_trips = (plateau_s / ROUND_TRIP.as_secs_f64()) as u32;
        run(&mut cubic, round_trips, &mut now);
        let reached = f64::from(cubic.window()) / f64::from(before);
        assert!((0.95..1.02).contains(&reached), "{reached}");
        run(&mut cubic, round_trips, &mut now);
        assert!(
            cubic.window() > before + before / 10,
            "beyond it the curve is convex"
        );
    }

    #[test]
    fn a_window_that_was_not_used_for_a_while_does_not_leap() {
        let mut cubic = Cubic::new(MSS, false);
        let mut now = Instant::ZERO;
        while cubic.window() < 100 * MSS {
            run(&mut cubic, 1, &mut now);
        }
        cubic.on_loss(MSS);
        run(&mut cubic, 40, &mut now);
        let before = cubic.window();
        for _ in 0..1000 {
            cubic.on_ack(MSS, MSS, MSS, ROUND_TRIP, now);
            now = now + ROUND_TRIP;
        }
        assert_eq!(cubic.window(), before);
        run(&mut cubic, 2, &mut now);
        assert!(cubic.window() < before + 5 * MSS, "{before}");
    }

    #[test]
    fn a_timeout_leaves_one_segment_and_half_of_what_was_in_flight_as_threshold() {
        let mut cubic = Cubic::new(MSS, false);
        cubic.on_timeout(10 * MSS, MSS, true);
        assert_eq!(cubic.window(), MSS);
        let mut now = Instant::ZERO;
        run(&mut cubic, 2, &mut now);
        assert_eq!(cubic.window(), 4 * MSS);
        run(&mut cubic, 1, &mut now);
        assert!(
            cubic.window() <= 6 * MSS,
            "slow start ends at the threshold"
        );
    }

    #[test]
    fn no_figure_overflows() {
        let mut cubic = Cubic::new(65_535, false);
        for step in 0..2000u64 {
            let now = Instant::from_nanos(step * step * 1_000_000_000);
            cubic.on_ack(
                u32::MAX,
                u32::MAX,
                65_535,
                Duration::from_secs(1 << 30),
                now,
            );
            if step % 100 == 7 {
                cubic.on_loss(65_535);
            }
            assert!(cubic.window() >= 65_535);
        }
    }
}
