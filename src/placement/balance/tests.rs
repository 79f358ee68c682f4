//! Golden placements, and the laws of both ways to balance.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn sites(count: usize) -> impl Iterator<Item = Candidate> {
    (1..=count).map(|number| Candidate::new(format!("site{number}")))
}

/// Returns the order of site1 to site5 as digits.
fn order_of(balance: &Balance, slot: u16) -> String {
    balance.ranked(slot).map(|id| &id[4..]).collect()
}

fn sizes(balance: &Balance, count: usize) -> Vec<usize> {
    sites(count).map(|site| balance.slots_of(site.id()).len()).collect()
}

/// Placements that were reckoned apart from this code. They may never change: slots would change hands.
mod golden {
    use super::*;

    const MD5_512: [(u16, &str); 18] = [
        (0, "45132"),
        (1, "24153"),
        (2, "24531"),
        (3, "21354"),
        (4, "31542"),
        (5, "13542"),
        (6, "34521"),
        (7, "41352"),
        (8, "15432"),
        (9, "15324"),
        (10, "41325"),
        (11, "14325"),
        (12, "54213"),
        (13, "43215"),
        (14, "15243"),
        (15, "51234"),
        (497, "42351"),
        (511, "31524"),
    ];

    const MD5_16: [&str; 16] = [
        "32415", "52134", "35241", "13524", "42315", "31524", "25413", "25143", "35124", "53412", "43512", "54123",
        "41532", "53142", "25143", "45132",
    ];

    const RENDEZVOUS: [(u16, &str); 8] = [
        (0, "15243"),
        (1, "42531"),
        (2, "51342"),
        (3, "53142"),
        (497, "52134"),
        (511, "34125"),
        (1023, "12453"),
        (16383, "14253"),
    ];

    /// The orders with weights 1 to 5.
    const WEIGHTED: [&str; 8] = ["51234", "45231", "54213", "45312", "42513", "54321", "54321", "32145"];

    #[test]
    fn md5_is_that_of_the_go_library() {
        let balance = Balance::new(512, 5, sites(5)).order(Order::Md5);
        for (slot, order) in MD5_512 {
            assert_eq!(order_of(&balance, slot), order, "slot {slot}");
        }
        let balance = Balance::new(16, 5, sites(5)).order(Order::Md5);
        for (slot, order) in (0..).zip(MD5_16) {
            assert_eq!(order_of(&balance, slot), order, "slot {slot}");
        }
    }

    #[test]
    fn md5_has_the_shares_of_the_go_library() {
        let shares = |slots, copies, count| sizes(&Balance::new(slots, copies, sites(count)).order(Order::Md5), count);
        assert_eq!(shares(512, 1, 5), [102, 93, 108, 108, 101]);
        assert_eq!(shares(512, 2, 5), [214, 197, 204, 219, 190]);
        assert_eq!(shares(1024, 1, 5), [197, 196, 204, 197, 230]);
        assert_eq!(shares(512, 1, 2), [261, 251]);
        assert_eq!(shares(512, 1, 4)[3], 137);

        let shards = (0..16).map(|number| Candidate::new(format!("shard-{number}")));
        let balance = Balance::new(256, 2, shards).order(Order::Md5);
        let counts: Vec<usize> = (0..16).map(|number| balance.slots_of(&format!("shard-{number}")).len()).collect();
        let (sum, least, most) = (counts.iter().sum::<usize>(), counts.iter().min(), counts.iter().max());
        assert_eq!((sum, least, most), (512, Some(&25), Some(&41)));
    }

    /// Both weigh 50480 in this slot, and stand for the third place.
    #[test]
    fn ties_go_by_id() {
        let balance = Balance::new(16384, 3, sites(5)).order(Order::Md5);
        let number = |site: &str| first_two_bytes(format!("{site}:9914:16384").as_bytes()) + 1;
        assert_eq!((number("site1"), number("site2")), (50480, 50480));
        let order = order_of(&balance, 9914);
        assert_eq!((order.find('1'), order.find('2')), (Some(2), Some(3)), "{order}");
        let backwards: Vec<Candidate> = sites(5).collect::<Vec<_>>().into_iter().rev().collect();
        assert_eq!(order_of(&Balance::new(16384, 3, backwards).order(Order::Md5), 9914), order);
    }

    #[test]
    fn rendezvous_never_changes() {
        let balance = Balance::new(16384, 5, sites(5));
        for (slot, order) in RENDEZVOUS {
            assert_eq!(order_of(&balance, slot), order, "slot {slot}");
        }
        let weighted = Balance::new(8, 5, (1..).zip(sites(5)).map(|(weight, site)| site.weight(weight)));
        for (slot, order) in (0..).zip(WEIGHTED) {
            assert_eq!(order_of(&weighted, slot), order, "slot {slot}");
        }
        assert_eq!(sizes(&Balance::new(1024, 1, sites(5)), 5), [226, 225, 208, 168, 197]);
    }
}

mod rendezvous {
    use super::*;

    #[test]
    fn a_zone_is_passed_over_while_there_are_others() {
        let zoned = |number: usize| Candidate::new(format!("n{number}")).zone(format!("z{}", number / 2));
        let balance = Balance::new(256, 3, (0..6).map(zoned));
        for slot in 0..256 {
            let zones: BTreeSet<u8> = balance.holders(slot).map(|id| (id.as_bytes()[1] - b'0') / 2).collect();
            assert_eq!(zones.len(), 3, "slot {slot}");
            assert_eq!(balance.holders(slot).next(), balance.ranked(slot).next());
        }
        // Two zones cannot take three apart: the third is the best of those that are left.
        let balance = Balance::new(256, 3, (0..4).map(zoned));
        for slot in 0..256 {
            let holders: Vec<&str> = balance.holders(slot).collect();
            let left = balance.ranked(slot).find(|id| !holders[..2].contains(id)).unwrap();
            assert_eq!(holders[2], left);
        }
    }

    #[test]
    fn nobody_without_candidates_weight_or_such_a_slot() {
        assert_eq!(Balance::new(16, 2, []).holders(0).count(), 0);
        assert_eq!(Balance::new(16, 2, [Candidate::new("a").weight(0)]).holders(0).count(), 0);
        assert_eq!(Balance::new(16, 2, sites(3)).holders(16).count(), 0);
        assert_eq!(Balance::new(16, 9, sites(3)).holders(15).count(), 3);
    }

    #[test]
    fn weights_count() {
        let weights = [1, 2, 3, 4];
        let weighted = weights.into_iter().zip(sites(4)).map(|(weight, site)| site.weight(weight));
        let counts = sizes(&Balance::new(16384, 1, weighted), 4);
        for (weight, count) in weights.into_iter().zip(counts) {
            let share = 16384.0 * f64::from(weight) / 10.0;
            assert!((count as f64 - share).abs() < share * 0.1, "weight {weight}: {count} instead of {share}");
        }
    }

    proptest! {
        #[test]
        fn who_leaves_takes_only_its_own_slots(gone in 0_usize..8, slot in 0_u16..1024, copies in 1_usize..4, md5: bool) {
            let order = if md5 { Order::Md5 } else { Order::Rendezvous };
            let all: Vec<Candidate> = sites(8).collect();
            let rest = all.iter().enumerate().filter(|(place, _)| *place != gone).map(|(_, site)| site.clone());
            let (before, after) = (Balance::new(1024, copies, all.clone()), Balance::new(1024, copies, rest));
            let (before, after) = (before.order(order), after.order(order));
            let kept: Vec<&str> = before.holders(slot).filter(|id| *id != all[gone].id()).collect();
            let now: Vec<&str> = after.holders(slot).collect();
            prop_assert_eq!(&now[..kept.len()], &kept[..]);
            prop_assert_eq!(now.len(), copies);
        }

        #[test]
        fn order_does_not_matter(shuffled in Just(sites(8).collect::<Vec<_>>()).prop_shuffle(), slot in 0_u16..512, md5: bool) {
            let order = if md5 { Order::Md5 } else { Order::Rendezvous };
            let (one, other) = (Balance::new(512, 3, shuffled).order(order), Balance::new(512, 3, sites(8)).order(order));
            prop_assert!(one.holders(slot).eq(other.holders(slot)));
            prop_assert_eq!(one.holders(slot).collect::<BTreeSet<_>>().len(), 3);
        }
    }
}

mod exact {
    use super::*;

    fn none(slots: usize) -> Vec<Vec<String>> {
        vec![Vec::new(); slots]
    }

    fn moves(before: &[Vec<String>], after: &[Vec<String>]) -> usize {
        before.iter().zip(after).map(|(old, new)| new.iter().filter(|id| !old.contains(id)).count()).sum()
    }

    fn count(plan: &[Vec<String>], id: &str) -> usize {
        plan.iter().filter(|holders| holders.iter().any(|holder| holder == id)).count()
    }

    fn firsts(plan: &[Vec<String>], id: &str) -> usize {
        plan.iter().filter(|holders| holders.first().is_some_and(|first| first == id)).count()
    }

    #[test]
    fn the_third_node_takes_341_slots_of_1024() {
        let two = even(1, sites(2), &none(1024));
        assert_eq!([count(&two, "site1"), count(&two, "site2")], [512, 512]);
        let three = even(1, sites(3), &two);
        assert_eq!(moves(&two, &three), 341);
        assert_eq!(count(&three, "site3"), 341);
        let four = even(1, sites(4), &three);
        assert_eq!(moves(&three, &four), 256);
        assert_eq!(even(1, sites(3), &four).iter().filter(|holders| holders[0] == "site3").count(), 341);
    }

    #[test]
    fn two_copies_are_spread_and_so_are_the_first_ones() {
        let three = even(2, sites(3), &even(2, sites(2), &none(1024)));
        for site in sites(3) {
            assert!((682..=683).contains(&count(&three, site.id())));
            assert!((341..=342).contains(&firsts(&three, site.id())));
        }
    }

    #[test]
    fn a_single_candidate_has_everything_and_none_has_nothing() {
        assert!(even(2, sites(1), &none(16)).iter().all(|holders| *holders == ["site1"]));
        assert_eq!(even(2, sites(0), &even(2, sites(1), &none(16))), none(16));
        assert!(even(1, sites(3), &none(0)).is_empty());
    }

    #[test]
    fn weights_are_shares_and_nobody_has_a_slot_twice() {
        let nodes = || [1, 1, 2].into_iter().zip(sites(3)).map(|(weight, site)| site.weight(weight));
        let plan = even(1, nodes(), &none(1024));
        assert_eq!(sites(3).map(|site| count(&plan, site.id())).collect::<Vec<_>>(), [256, 256, 512]);
        // By weight the third would get 10/12 of 2048: more than there are.
        let nodes = [1, 1, 10].into_iter().zip(sites(3)).map(|(weight, site)| site.weight(weight));
        let plan = even(2, nodes, &none(1024));
        assert_eq!(sites(3).map(|site| count(&plan, site.id())).collect::<Vec<_>>(), [512, 512, 1024]);
    }

    #[test]
    fn zones_come_before_even_shares() {
        let zoned = |zones: &'static [&'static str]| sites(zones.len()).zip(zones).map(|(site, zone)| site.zone(*zone));
        let apart = even(2, zoned(&["a", "a", "b", "b"]), &none(256));
        let is_in_a = |id: &String| ["site1", "site2"].contains(&id.as_str());
        assert!(apart.iter().all(|holders| holders.iter().filter(|id| is_in_a(id)).count() == 1));
        assert!(sites(4).all(|site| count(&apart, site.id()) == 128));
        let lopsided = even(2, zoned(&["a", "a", "a", "b"]), &none(256));
        assert_eq!(count(&lopsided, "site4"), 256);
        // Zones that are named later are made good.
        let mixed = even(2, sites(4), &none(256));
        let mended = even(2, zoned(&["a", "a", "b", "b"]), &mixed);
        assert!(mended.iter().all(|holders| holders.iter().filter(|id| is_in_a(id)).count() == 1));
        let crowded = mixed.iter().filter(|holders| holders.iter().filter(|id| is_in_a(id)).count() != 1).count();
        assert!(moves(&mixed, &mended) >= crowded);
    }

    /// The speed that is asked for is that of a build with optimisation; this one has none.
    #[test]
    fn many_slots_and_nodes_are_planned() {
        let nodes = || (0..100).map(|number| Candidate::new(format!("10.0.0.{number}:6379")));
        let plan = even(2, nodes(), &none(2048));
        assert!(nodes().all(|node| (40..=41).contains(&count(&plan, node.id()))));
        assert!(nodes().all(|node| (20..=21).contains(&firsts(&plan, node.id()))));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// However they come and go: all slots have all copies, nobody has too many or too few, nothing moves without need.
        #[test]
        fn shares_are_exact_and_moves_the_fewest(steps in prop::collection::vec(1_usize..9, 1..5), copies in 1_usize..4, slots in 1_usize..200) {
            let mut plan = none(slots);
            for nodes in steps {
                let next = even(copies, sites(nodes), &plan);
                let each = copies.min(nodes);
                let (least, most) = (slots * each / nodes, (slots * each).div_ceil(nodes));
                let mut lacking = 0;
                let mut spare = (slots * each) % nodes;
                let mut kept: Vec<usize> = sites(nodes).map(|site| count(&plan, site.id())).collect();
                kept.sort_unstable_by_key(|kept| Reverse(*kept));
                for kept in kept {
                    let share = least + usize::from(spare > 0);
                    spare = spare.saturating_sub(1);
                    lacking += share.saturating_sub(kept);
                }
                for site in sites(nodes) {
                    let held = count(&next, site.id());
                    prop_assert!((least..=most).contains(&held), "{held} not in {least}..={most}");
                    let first = firsts(&next, site.id());
                    prop_assert!((slots / nodes..=slots.div_ceil(nodes)).contains(&first), "{first} firsts");
                }
                for holders in &next {
                    prop_assert_eq!(holders.iter().collect::<BTreeSet<_>>().len(), each);
                    prop_assert_eq!(holders.len(), each);
                }
                // A free place in a slot that all who lack one have already is filled by way of others.
                let moved = moves(&plan, &next);
                prop_assert!(moved >= lacking, "{moved} moves, {lacking} lack");
                if each == 1 || plan.iter().all(|holders| holders.iter().all(|id| sites(nodes).any(|site| site.id() == id))) {
                    prop_assert_eq!(moved, lacking);
                } else {
                    prop_assert!(moved <= lacking + nodes, "{moved} moves, {lacking} lack");
                }
                prop_assert_eq!(&even(copies, sites(nodes), &next), &next);
                plan = next;
            }
        }

        #[test]
        fn order_does_not_matter(shuffled in Just(sites(6).collect::<Vec<_>>()).prop_shuffle(), copies in 1_usize..4) {
            prop_assert_eq!(even(copies, shuffled, &none(64)), even(copies, sites(6), &none(64)));
        }

        #[test]
        fn any_weights_and_zones_give_full_slots(shape in prop::collection::vec((1_u32..6, 0_u8..4), 1..7), copies in 1_usize..4) {
            let nodes = || shape.iter().zip(sites(8)).map(|((weight, zone), site)| site.weight(*weight).zone(zone.to_string()));
            let plan = even(copies, nodes(), &none(64));
            let zones: BTreeSet<u8> = shape.iter().map(|(_, zone)| *zone).collect();
            let zone_of = |id: &String| shape[id[4..].parse::<usize>().unwrap() - 1].1;
            for holders in &plan {
                prop_assert_eq!(holders.iter().collect::<BTreeSet<_>>().len(), copies.min(shape.len()));
                prop_assert_eq!(holders.iter().map(zone_of).collect::<BTreeSet<_>>().len(), holders.len().min(zones.len()));
            }
        }
    }
}
