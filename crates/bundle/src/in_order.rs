//! Work for several threads, of which the results are heard in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;

/// Calls `each` for every item, on so many threads at most, of which this is one; calls `hear` on this one for the
/// results, in the order of the items, which begin to be heard before all of them are there. `each` has what its thread
/// keeps from item to item.
///
/// Nobody waits for an item that takes long, but for the last ones: meanwhile results of those behind it stand in
/// memory.
///
/// # Errors
/// The first one that `hear` answers: items that were not begun are left out then.
pub(crate) fn in_order<T: Sync, W: Default, R: Send, E>(
    items: &[T],
    threads: usize,
    each: impl Fn(&mut W, &T) -> R + Sync,
    mut hear: impl FnMut(usize, R) -> Result<(), E>,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let claim = || {
        let index = next.fetch_add(1, Ordering::Relaxed);
        items.get(index).map(|item| (index, item))
    };
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 1..threads.min(items.len()) {
            let (sender, claim, each) = (sender.clone(), &claim, &each);
            scope.spawn(move || {
                let mut kept = W::default();
                while let Some((index, item)) = claim() {
                    // After a fault nobody hears of it.
                    if sender.send((index, each(&mut kept, item))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut heard = 0;
        let mut hear_next = |waiting: &mut BTreeMap<usize, R>| {
            while let Some(result) = waiting.remove(&heard) {
                hear(heard, result)?;
                heard += 1;
            }
            Ok(())
        };
        let mut kept = W::default();
        while let Some((index, item)) = claim() {
            waiting.insert(index, each(&mut kept, item));
            waiting.extend(receiver.try_iter());
            hear_next(&mut waiting)?;
        }
        for (index, result) in receiver {
            waiting.insert(index, result);
            hear_next(&mut waiting)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn all_results_are_heard_in_order_also_behind_one_that_takes_long() {
        let items: Vec<usize> = (0..1000).collect();
        for threads in [1, 2, 5] {
            let is_over = AtomicBool::new(false);
            let mut heard = Vec::new();
            let each = |kept: &mut Vec<usize>, &item: &usize| {
                // The first one is done when all others are, where somebody else can do them.
                while item == 0 && threads > 1 && !is_over.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                is_over.fetch_or(item == 999, Ordering::AcqRel);
                assert!(kept.last().is_none_or(|&last| last < item));
                kept.push(item);
                item * 2
            };
            let result: Result<(), Infallible> = in_order(&items, threads, each, |index, result| {
                heard.push((index, result));
                Ok(())
            });
            assert!(result.is_ok());
            assert_eq!(heard, items.iter().map(|item| (*item, item * 2)).collect::<Vec<_>>());
        }
        let none: Result<(), Infallible> = in_order(&[], 3, |(), _: &u8| (), |_, ()| unreachable!());
        assert!(none.is_ok());
    }

    #[test]
    fn behind_a_fault_nothing_more_is_begun() {
        let items: Vec<usize> = (0..100_000).collect();
        let begun = AtomicUsize::new(0);
        let each = |(): &mut (), &item: &usize| {
            begun.fetch_add(1, Ordering::Relaxed);
            item
        };
        let hear = |_, item| if item == 10 { Err(item) } else { Ok(()) };
        assert_eq!(in_order(&items, 1, each, hear), Err(10));
        assert_eq!(begun.load(Ordering::Relaxed), 11);
        assert_eq!(in_order(&items, 3, each, hear), Err(10));
    }
}
