//! Installations that are killed in front of each system call that writes, by `strace`, and those that follow them.

use crate::cut::{Scene, has};
use crate::device::Device;

/// Has every kill tried, not only some.
const THOROUGH: &str = "FLUVIAL_TEST_EVERY_KILL";
/// Kills of each route otherwise.
const KILLS: usize = 40;
/// Of so many kills one is followed by another one.
const AGAIN_EVERY: usize = 4;

/// A place to kill at: a file below the device's folder, a call, and how often it was made by then.
type Place = (String, String, usize);

fn places(scene: &Scene) -> Vec<Place> {
    let calls = scene.calls();
    assert!(!calls.is_empty(), "nothing was recorded");
    let each = |(name, call, count): Place| (1..=count).map(move |at| (name.clone(), call.clone(), at));
    calls.into_iter().flat_map(each).collect()
}

fn is_killed(scene: &Scene, device: &Device, (name, call, at): &Place) -> bool {
    let inject = format!("inject={call}:signal=KILL:when={at}");
    let path = device.path(name);
    let options = ["-o", "/dev/null", "-P", path.to_str().unwrap(), "-e", &inject];
    scene.is_killed(device, &options)
}

fn check_all(route: &'static str) {
    if !has("strace") {
        return;
    }
    let scene = Scene::new(route);
    let all = places(&scene);
    let step = if std::env::var_os(THOROUGH).is_some() { 1 } else { (all.len() / KILLS).max(1) };
    let (mut killed, mut again) = (0, 0);
    for (number, place) in all.iter().enumerate().step_by(step) {
        let device = scene.device();
        let when = format!("{route}, killed at {place:?}");
        // Threads do not always share their work in the same way.
        killed += usize::from(is_killed(&scene, &device, place));
        scene.check(&device, &when);
        if number / step % AGAIN_EVERY == 0 {
            let next = &all[(number * 7 + 3) % all.len()];
            let when = format!("{when}, then at {next:?}");
            again += usize::from(is_killed(&scene, &device, next));
            scene.complete(&device, &when);
        } else {
            scene.complete(&device, &when);
        }
    }
    println!("{route}: {killed} kills, {} places, {again} killed twice", all.len());
    assert!(killed * 10 >= all.len().div_ceil(step) * 9, "{killed} kills");
    assert!(again > 0, "nothing was killed twice");
}

#[test]
fn a_dynamic_installation_is_completed_after_any_kill() {
    check_all("dynamic");
}

#[test]
fn a_static_installation_is_completed_after_any_kill() {
    check_all("static");
}

#[test]
fn an_installation_as_a_whole_is_completed_after_any_kill() {
    check_all("full");
}
