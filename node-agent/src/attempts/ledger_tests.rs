use super::*;
use crate::limits::{PREFETCH_PER_SLOT_AT_FIRST, PREFETCH_PER_SLOT_MAX};

type Book = Ledger<&'static str, u32>;

const TENANT: &str = "tenant";

fn key(number: u32) -> AttemptKey {
    AttemptKey { number, token: u64::from(number), ..Default::default() }
}

fn result(number: u32) -> wire::Finished {
    wire::Finished { key: Some(key(number)), ..Default::default() }
}

fn greeted(slots: u32) -> Book {
    let mut book = Book::new(slots);
    book.greet();
    book
}

fn run(book: &mut Book, number: u32, class: Class) {
    assert_eq!(book.accept(&key(number), class, TENANT, "work"), Admission::Start("work"));
    book.started(&key(number), number);
}

fn permits(slot: u32, prefetch: u32) -> Permits {
    Permits { slot, prefetch }
}

fn inventory(book: &Book) -> (Vec<u32>, Vec<u32>) {
    let inventory = book.inventory(0);
    let numbers = |keys: Vec<AttemptKey>| {
        let mut numbers: Vec<u32> = keys.into_iter().map(|key| key.number).collect();
        numbers.sort_unstable();
        numbers
    };
    (numbers(inventory.running), numbers(inventory.finished))
}

#[test]
fn slots_run_and_the_rest_waits_its_turn() {
    let mut book = greeted(1);
    run(&mut book, 1, Class::Slot);
    assert_eq!(book.accept(&key(2), Class::Prefetch, TENANT, "second"), Admission::Queued);
    assert_eq!(book.accept(&key(3), Class::Prefetch, TENANT, "third"), Admission::Queued);
    assert_eq!(book.next(), None);
    assert_eq!(inventory(&book), (vec![1, 2, 3], vec![]));
    assert!(book.finish(&key(1), &result(1), 1));
    assert_eq!(book.next(), Some("second"));
    assert_eq!(book.next(), None);
    assert_eq!(inventory(&book), (vec![2, 3], vec![1]));
}

#[test]
fn an_end_frees_a_permit_of_its_class() {
    let mut book = greeted(1);
    assert_eq!(book.grant(), Permits::NONE, "all are granted with the Hello");
    run(&mut book, 1, Class::Prefetch);
    assert_eq!(book.accept(&key(2), Class::Slot, TENANT, "slot"), Admission::Queued);
    book.finish(&key(1), &result(1), 1);
    assert_eq!(book.grant(), permits(0, 1));
    book.next();
    book.started(&key(2), 2);
    book.finish(&key(2), &result(2), 1);
    assert_eq!(book.grant(), permits(1, 0));
}

#[test]
fn no_slot_is_granted_while_long_work_that_came_ahead_of_one_runs_in_it() {
    let mut book = greeted(2);
    run(&mut book, 1, Class::Prefetch);
    run(&mut book, 2, Class::Slot);
    assert_eq!(book.accept(&key(3), Class::Slot, TENANT, "slot"), Admission::Queued);
    let queued = book.last_queued().unwrap();
    assert_eq!(book.overdue(queued), [key(3)]);
    assert_eq!(book.grant(), Permits::NONE, "no slot is idle");
    book.finish(&key(1), &result(1), 1);
    assert_eq!(book.grant(), permits(1, 0));
    book.finish(&key(2), &result(2), 1);
    assert_eq!(book.grant(), permits(1, 0));
}

#[test]
fn what_waits_behind_long_work_goes_back_and_none_is_asked_for_in_its_place() {
    let mut book = greeted(1);
    (0..50).for_each(|_| book.ran(Duration::ZERO));
    let places = book.grant().prefetch + PREFETCH_PER_SLOT_AT_FIRST;
    assert_eq!(places, PREFETCH_PER_SLOT_MAX);
    assert_eq!(book.last_queued(), None, "nothing waits");
    run(&mut book, 1, Class::Slot);
    let queue = |book: &mut Book, numbers: std::ops::Range<u32>| {
        numbers.for_each(|number| {
            assert_eq!(book.accept(&key(number), Class::Prefetch, TENANT, "long"), Admission::Queued);
        });
    };
    queue(&mut book, 2..4);
    let early = book.last_queued().unwrap();
    assert!(book.finish(&key(1), &result(1), 1) && book.next().is_some() && book.next().is_none());
    book.started(&key(2), 2);
    assert!(book.finish(&key(2), &result(2), 1) && book.next().is_some());
    book.started(&key(3), 3);
    queue(&mut book, 4..2 + places);
    assert_eq!(book.overdue(early), [], "what waited then has begun");
    let late = book.last_queued().unwrap();
    let back: Vec<u32> = book.overdue(late).into_iter().map(|key| key.number).collect();
    assert_eq!(back, (4..2 + places).collect::<Vec<_>>());
    assert_eq!((book.grant(), book.owed().0), (Permits::NONE, 1), "it keeps what runs, and asks for nothing");
    assert_eq!(book.last_queued(), None);
}

#[test]
fn no_more_than_the_capacity_is_ever_inside() {
    let mut book = greeted(1);
    run(&mut book, 1, Class::Slot);
    assert_eq!(book.accept(&key(2), Class::Slot, TENANT, "work"), Admission::Refused);
    for number in 3..3 + PREFETCH_PER_SLOT_AT_FIRST {
        assert_eq!(book.accept(&key(number), Class::Prefetch, TENANT, "work"), Admission::Queued);
    }
    assert_eq!(book.accept(&key(9), Class::Prefetch, TENANT, "work"), Admission::Refused);
    assert_eq!(book.greet().permits, Permits::NONE);
    assert_eq!(book.accept(&key(1), Class::Slot, TENANT, "work"), Admission::Refused);
}

#[test]
fn a_hello_states_permits_afresh() {
    let mut book = greeted(2);
    run(&mut book, 1, Class::Slot);
    run(&mut book, 2, Class::Prefetch);
    let greeting = book.greet();
    assert_eq!(greeting.permits, permits(1, 2 * PREFETCH_PER_SLOT_AT_FIRST - 1));
    assert_eq!(book.grant(), Permits::NONE);
}

#[test]
fn returned_permits_are_granted_again() {
    let mut book = greeted(2);
    book.give_back(Class::Slot, 1);
    assert_eq!(book.grant(), permits(1, 0));
    book.give_back(Class::Prefetch, 1_000);
    assert_eq!(book.grant(), permits(0, 2 * PREFETCH_PER_SLOT_AT_FIRST), "never more than there are");
}

#[test]
fn the_same_attempt_is_taken_once() {
    let mut book = greeted(3);
    run(&mut book, 1, Class::Slot);
    assert_eq!(book.accept(&key(1), Class::Slot, TENANT, "again"), Admission::Known);
    book.finish(&key(1), &result(1), 1);
    assert_eq!(book.accept(&key(1), Class::Slot, TENANT, "again"), Admission::Known);
    assert_eq!(book.grant(), permits(3, 0));
}

#[test]
fn results_are_kept_in_order_until_acknowledged() {
    let mut book = greeted(3);
    for number in [2, 3, 1] {
        run(&mut book, number, Class::Slot);
        book.finish(&key(number), &result(number), 1);
    }
    let numbers = |book: &Book| -> Vec<u32> {
        book.results().into_iter().map(|(result, _)| result.key.unwrap().number).collect()
    };
    assert_eq!(numbers(&book), [2, 3, 1]);
    book.acknowledge(&key(3));
    book.acknowledge(&key(3));
    assert_eq!(numbers(&book), [2, 1]);
    assert!(!book.finish(&key(2), &result(2), 1), "an attempt ends once");
}

#[test]
fn too_many_kept_bytes_hold_permits_back() {
    let mut book = greeted(1);
    run(&mut book, 1, Class::Slot);
    book.finish(&key(1), &result(1), RESULTS_KEPT_BYTES_MAX);
    assert_eq!(book.grant(), Permits::NONE);
    assert_eq!(book.greet().permits, Permits::NONE);
    book.acknowledge(&key(1));
    assert_eq!(book.grant(), permits(1, PREFETCH_PER_SLOT_AT_FIRST));
}

#[test]
fn cancel_withdraws_what_waits_and_reaches_what_runs() {
    let mut book = greeted(1);
    run(&mut book, 1, Class::Slot);
    book.accept(&key(2), Class::Prefetch, TENANT, "second");
    assert_eq!(book.cancel(&key(1)), Stop::Reach(1));
    assert_eq!(book.cancel(&key(2)), Stop::Withdrawn("second"));
    assert!(book.finish(&key(2), &result(2), 1));
    assert_eq!(book.cancel(&key(2)), Stop::Unknown);
    assert_eq!(inventory(&book), (vec![1], vec![2]));
    assert_eq!(book.next(), None, "the slot is still taken");
    book.finish(&key(1), &result(1), 1);
    assert_eq!(book.accept(&key(4), Class::Prefetch, TENANT, "fourth"), Admission::Start("fourth"));
}

#[test]
fn what_is_disowned_leaves_nothing() {
    let mut book = greeted(1);
    run(&mut book, 1, Class::Slot);
    book.accept(&key(2), Class::Prefetch, TENANT, "second");
    assert_eq!(book.disown(&key(2)), Stop::Withdrawn("second"));
    assert_eq!(book.disown(&key(1)), Stop::Reach(1));
    assert!(!book.finish(&key(1), &result(1), 1));
    assert_eq!(book.owed(), (0, 0));
    assert_eq!(book.grant(), permits(1, 1));
    run(&mut book, 3, Class::Slot);
    book.finish(&key(3), &result(3), 1);
    assert_eq!(book.disown(&key(3)), Stop::Unknown);
    assert_eq!(book.owed(), (0, 0));
}

#[test]
fn intents_and_handles_are_told_to_each_session() {
    let mut book = greeted(2);
    run(&mut book, 1, Class::Slot);
    run(&mut book, 2, Class::Slot);
    assert_eq!(book.set_awaits_intent(&key(1), true), Some(1));
    assert!(book.set_handle(&key(2), Bytes::from_static(b"job")));
    assert!(!book.set_handle(&key(3), Bytes::new()));
    let handles = vec![(key(2), Bytes::from_static(b"job"))];
    assert_eq!(book.restate(), Restated { intents: vec![key(1)], handles: handles.clone() });
    book.set_awaits_intent(&key(1), false);
    assert_eq!(book.restate(), Restated { intents: vec![], handles });
}

#[test]
fn a_drain_keeps_what_runs_and_takes_nothing() {
    let mut book = greeted(1);
    run(&mut book, 1, Class::Slot);
    book.accept(&key(2), Class::Prefetch, TENANT, "second");
    assert_eq!(book.drain(), [key(2)]);
    assert_eq!(book.accept(&key(3), Class::Prefetch, TENANT, "third"), Admission::Refused);
    book.finish(&key(1), &result(1), 1);
    assert_eq!(book.owed(), (0, 1));
    assert_eq!(book.grant(), Permits::NONE);
    assert_eq!(book.greet().permits, Permits::NONE);
    book.acknowledge(&key(1));
    assert_eq!(book.owed(), (0, 0));
}

#[test]
fn what_is_asked_back_has_not_begun_and_its_places_are_free_again() {
    let mut book = greeted(1);
    run(&mut book, 1, Class::Slot);
    book.accept(&key(2), Class::Prefetch, TENANT, "second");
    let before = book.grant();
    assert_eq!(book.withdraw(), [key(2)]);
    assert_eq!((before, book.grant()), (Permits::NONE, Permits::of(Class::Prefetch, 1)));
    assert_eq!(
        book.accept(&key(3), Class::Prefetch, TENANT, "third"),
        Admission::Queued,
        "more may come after a drain"
    );
}
