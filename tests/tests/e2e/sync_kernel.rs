//! Connection sync and takeover with the real kernel's IPVS, which the oracle runs in user mode, as
//! the other director.

#[path = "sync_kernel/clients.rs"]
mod clients;
#[path = "sync_kernel/scenes.rs"]
mod scenes;
#[path = "sync_kernel/takeover.rs"]
mod takeover;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use anyhow::{Context, Result};
use tests::guest::{Crossing, Director, Guest, Oracle, Ours};
use tests::lab::Lab;
use tests::requirements::Binaries;

use crate::Case;

/// False while our daemon has no sync: the same scenes are then played by two kernels, which shows
/// that nothing else is wrong with them.
const OURS_SYNCS: bool = true;

/// Two directors on the same networks; in most scenes the first is the master.
pub(crate) type Pair<'p> = [Box<dyn Director + 'p>; 2];

type Scene = fn(&Crossing<'_>, &mut Pair<'_>) -> Result<()>;

/// Those that have a direction.
const ONE_WAY: [(&str, Scene); 2] = [("table", scenes::table), ("takeover", takeover::takeover)];
/// Those in which both directors send and receive.
const BOTH_WAYS: [(&str, Scene); 3] =
    [("version-0", scenes::version_0), ("group", scenes::group), ("other-id", scenes::other_id)];

#[derive(Clone, Copy)]
enum Kind {
    Kernel,
    Ours,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Kernel => "kernel",
            Self::Ours => "ours",
        })
    }
}

pub(crate) fn cases() -> Vec<Case> {
    use Kind::{Kernel, Ours};
    let ways: &[[Kind; 2]] =
        if OURS_SYNCS { &[[Kernel, Ours], [Ours, Kernel]] } else { &[[Kernel, Kernel]] };
    let kernels = Rc::new(Kernels::default());
    let mut cases = Vec::new();
    let mut add = |name: String, kinds: [Kind; 2], scene: Scene| {
        let kernels = Rc::clone(&kernels);
        let case =
            Case::new(name, move |lab, binaries| play(&kernels, lab, binaries, kinds, scene));
        cases.push(case.when(|| Oracle::find().map(drop)));
    };
    add("interop-alone".to_owned(), [Kernel, Ours], scenes::alone);
    for [first, second] in ways {
        for (name, scene) in ONE_WAY {
            add(format!("interop-{name}-{first}-{second}"), [*first, *second], scene);
        }
    }
    for (name, scene) in BOTH_WAYS {
        add(format!("interop-{name}"), ways[0], scene);
    }
    cases
}

/// The kernels that were booted so far: they serve one case after another.
#[derive(Default)]
struct Kernels([RefCell<Option<Rc<Guest>>>; 2]);

impl Kernels {
    /// A kernel that is plugged into this lab.
    fn get(&self, number: u8, lab: &Lab) -> Result<Rc<Guest>> {
        let mut place = self.0[usize::from(number)].borrow_mut();
        let booted = place.take().filter(|guest| guest.is_running());
        let guest = match booted {
            Some(guest) => guest,
            None => Rc::new(Guest::boot(&Oracle::find()?, number).context("booting the kernel")?),
        };
        guest.join(lab).context("plugging the kernel in")?;
        *place = Some(Rc::clone(&guest));
        Ok(guest)
    }
}

fn play(
    kernels: &Kernels,
    lab: &Lab,
    binaries: &Binaries,
    kinds: [Kind; 2],
    scene: Scene,
) -> Result<()> {
    let crossing = Crossing::new(lab)?;
    let mut guests: Vec<Rc<Guest>> = Vec::new();
    let mut start = |kind: Kind| -> Result<Box<dyn Director + '_>> {
        Ok(match kind {
            Kind::Ours => Box::new(Ours::start(lab, binaries)?),
            Kind::Kernel => {
                let guest = kernels.get(u8::try_from(guests.len())?, lab)?;
                guests.push(Rc::clone(&guest));
                Box::new(guest)
            }
        })
    };
    let mut pair = [start(kinds[0])?, start(kinds[1])?];
    let result = scene(&crossing, &mut pair);
    if result.is_err() {
        for guest in &guests {
            crossing.note(guest);
        }
    }
    result
}
