// Package latency measures the links of one node, says when each is to be probed, and decides when what they cost is
// told to the mesh. It is pure: no goroutine, lock, clock or I/O; time is an argument and randomness is given. One
// goroutine, the node's control loop, owns a Prober with its links and an Advertiser.
//
//	echo, frame, use ──▶ Link ──cost──▶ Advertiser ──vector──▶ the mesh
//	                      ▲  └─state──▶ the node
//	        Prober ──probe┘
//
// In each step the owner tells links what came (Echo, Heard, Used, Failed), then calls Advance, then sends what Due
// returns, then offers the costs of the links that are Up to the Advertiser. It comes again at Next, or earlier when
// something happens.
//
// # Round trip
//
// Samples pass a running median of five (Tukey, Exploratory Data Analysis, 1977), which takes one or two outliers out
// whatever their size and delays a true change by two samples. The smoothed round trip is a moving average of that with
// two gains, in the manner of the flip-flop filter (Kim and Noble, Mobile Network Estimation, MobiCom 2001): 1/16
// while the median stays within control limits; outside them the level has moved, and it is followed with 1/2 upwards
// and 1/4 downwards until it is crossed. Within the limits both directions weigh the same, so there is no bias. The
// limits are three times the mean deviation or, if that is less, the mean moving range, which soon forgets a level that
// was wrong (Wheeler and Chambers, Understanding Statistical Process Control, 1992). Eight samples in a row below the
// estimate correct it to their median: delays are noise that only adds, so an estimate that is never reached is too
// high (after the run rules of the Western Electric handbook, 1956). The deviation is RFC 6298's mean deviation with
// gain 1/8, of the raw samples, each clipped at six deviations. After a down the estimate starts anew.
//
// # Loss
//
// The share of probes without an echo, a moving average with gain 1/128; when the last 64 probes show three sigmas
// more, it jumps to what they show. A late echo takes its loss back. Both directions are taken to lose alike:
// Stats.Loss is one way.
//
// # Cost
//
//	srtt/2 + max(0, loss - 0.3 %)·(srtt + 4·deviation + 5 ms) + HopCost
//
// The product is what losses cost a message on average: a retransmission comes after about that time-out.
//
// # Down
//
// The echo of a probe has T = srtt + max(4·deviation + 10 ms, 25 ms) time (1 s without a sample, never above 3 s). A
// link that is Up goes Down
//
//   - when n probes in a row are missed, of which each had its echo expected after the last frame that was heard;
//   - when 3·MissedLimit probes in a row are missed over at least 1 s, whatever is heard: the path works one way only;
//   - when Failed says so.
//
// The first miss makes any link fast. A frame explains only misses whose echo could have come before it, so frames
// that were on their way when the path died do not delay the verdict.
//
// With probes lost at a share q, n misses in a row come by chance with q^n. n is the least number from MissedLimit to
// twice that which makes this 10⁻⁶ at most, and the fast interval shrinks to ActiveInterval·MissedLimit/n, so that a
// larger n takes no longer: lossy links are probed up to twice as fast. At 2 % loss each way (q = 4 %) that is n = 4
// or 5, 27 to 33 probes/s and, with nothing else heard, one false alarm per link in 4 to 80 hours (n = 3 at 50 ms
// would give one in 14 minutes); at 3 %, n = 5 or 6, one in half a day or more. Frames heard make them rarer still.
// This is the mistake rate of Chen, Toueg and Aguilera (On the Quality of Service of Failure Detectors, IEEE
// Transactions on Computers 51(5), 2002) held constant. n stands while misses last: dying does not raise it.
//
// # Up
//
// A link that never was down comes up with two probes answered, one that was down with GoodLimit·2^(p-1). The penalty
// p grows by one with each down, to 6 at most, and halves every 30 s (the figure of merit of RFC 2439). A missed
// probe takes four answered ones back. A penalty below 0.1 is forgotten. The penalty outlives the link: it is inherited when a link to the same node is
// added again. A link that answers GoodLimit probes and is held Down by its penalty alone can be released by the owner,
// where there is no other way to its node: damping is to spare the mesh changes, not to cut nodes off.
//
// # Probing
//
// A link is lively for ActiveFor after its last use, after it was added or went down, and as long as it answers while
// Down. Lively and suspected links (a probe missed, nothing heard since) are probed at the fast interval, and so are those whose round trip may have moved (a
// sample more than four deviations and 2 ms off, until five more have come; or a shift that is followed), all others
// at IdleInterval. Frames of the peer other than echoes put the probe of a lively link off until three quarters of ActiveInterval after the last of them, to
// 6·ActiveInterval at most, and not once a probe is missed: what asks whether a link works is silence, so that a link which carries messages or acknowledgements costs next to no probes, and of two ends that have
// nothing else to say one does most of the asking. On an idle link the ends take turns in the same way: a probe goes IdleInterval after the peer was heard, a quarter
// more after the last of its own, and 3·IdleInterval after that at the latest, since both ends measure. Each interval is shortened by a random part up to a tenth, and a tick that some link needs takes
// along every link that is due within a tenth of its own interval: links of equal interval soon share their ticks. Of
// the budget every link gets a base rate first, then suspected links theirs, up to 40 % of the budget; what is left
// is shared by weight among lively links, most to those used last. A bucket bounds what is sent in fact.
//
// A caller that comes more than 50 ms late stood still, probably with the whole process: echoes may wait unread. Each
// probe on its way gets 25 ms more, once, and its echo counts as an answer but is no sample.
//
// # Advertising
//
// A cost that fell is told when it is below the number told by more than max(AdvertiseMin, AdvertiseShare of that number), one that rose when it is
// above by AdvertiseRise times as much; or when the set of links changed. Links that moved less keep the number told, so what is told follows the lower
// envelope of a cost that wavers, and paths do not change with it. On the measured series of mesh/scale that halves the changes of path twice over and
// costs a twentieth of the gain.
//
// A cost that rises is told in steps of half of what was told, or 10 ms, 0.5 s apart; one that falls within two minutes of a rise in steps of a quarter of
// the way, 2 s apart: where many paths have filled a relay they leave and come back few at a time (after the revised ARPANET metric, Khanna and Zinky,
// SIGCOMM 1989). If it rises again meanwhile, it is not told to be below a floor, an eighth of a step above where it rose from, for 30 s, and twice as long
// after each further such rise, to 5 minutes: so a relay comes to rest at what as many paths as it carries are willing to pay.
//
// Between two vectors lies AdvertiseEvery, doubled up to AdvertiseMost each time a change follows soon after the one before and halved by quiet (as
// Trickle's interval, RFC 6206). A change of k thresholds waits only 1/k of what churn added, so a large change is never late;
// a link that is new or no more is a large one, but where the owner is Patient the least.
// Urgent changes go at once, but for a bucket of 10/s, burst 5.
//
// # Place
//
// A Coordinate puts a node into a space of five dimensions and a height in which distances are round trips (Dabek et al., Vivaldi, SIGCOMM 2004), from
// what its links measure and the places that their far ends tell. It says about how far two nodes are that never measured each other, which is
// enough to choose whom to measure. What one sample moves a node by is bounded, whatever its far end claims.
//
// # Invariants
//
//	L1  A lively link whose path dies at t is Down by t + MissedLimit·ActiveInterval + T, or half a round trip later, less a quarter of ActiveInterval, where the peer was heard until then;
//	    with deviation up to 10 ms and default settings that is t + 200 ms + srtt. (The budget must allow its interval.)
//	L2  Any other link is Down by t + 5/4·IdleInterval + MissedLimit·ActiveInterval + 2T.
//	L3  Coming up takes two answered probes the first time, at least GoodLimit after a down, more after each.
//	L4  On a steady path the smoothed round trip is within one mean deviation of the mean 98 % of the time at least; nine
//	    tenths of a step up are followed within six samples where the step stands well clear of the jitter.
//	L5  One late or one lost probe on a good link moves no cost by more than the advertising threshold.
//	L6  Cost is never 0 and saturates; Loss is in [0, 1]; no call on any link panics.
//	L7  An echo of an unknown or answered number, or with an absurd round trip, changes nothing but Stats.Refused.
//	P1  In any span of time s at most Budget/10 + s·Budget probes are sent.
//	P2  No link waits longer for its probe than 2·max(5/4·IdleInterval, 3·links/Budget) + 100 ms, or 3·IdleInterval if its peer is heard.
//	P3  Suspected links go first in each tick; lively ones are stretched least where they were used last.
//	P4  The same calls with the same randomness give the same results.
//	A1  A vector is told only if a cost moved past its threshold or the set of links changed.
//	A2  Vectors that are not urgent are at least AdvertiseEvery apart; urgent ones go ahead of that at most 5 + 10·s
//	    times in any span s.
//	A3  While a change, or part of one, is held back, Next says until when: at most AdvertiseMost, or 5 minutes for a step of a rise or fall.
package latency
