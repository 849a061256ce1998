//! The connections of one thread: who is there, and who may be sent home.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use tokio::task::AbortHandle;

#[derive(Default)]
pub struct Crowd {
    present: RefCell<HashMap<u64, Present>>,
    next: Cell<u64>,
    /// Who waits for the last to leave.
    waits: Cell<Option<Waker>>,
}

struct Present {
    task: Option<AbortHandle>,
    /// Wakes it, wherever it waits.
    waker: Option<Waker>,
    is_idle: Rc<Cell<bool>>,
}

/// Somebody is there until this is dropped.
pub struct Presence {
    crowd: Rc<Crowd>,
    id: u64,
    /// Whether it waits for a request, and may be dropped without harm.
    pub is_idle: Rc<Cell<bool>>,
}

impl Crowd {
    pub fn enter(self: &Rc<Crowd>) -> Presence {
        let (id, is_idle) = (self.next.get(), Rc::new(Cell::new(false)));
        self.next.set(id + 1);
        self.present
            .borrow_mut()
            .insert(id, Present { task: None, waker: None, is_idle: Rc::clone(&is_idle) });
        Presence { crowd: Rc::clone(self), id, is_idle }
    }

    /// Which task it is.
    pub fn is(&self, id: u64, task: AbortHandle) {
        // It may have left by now.
        if let Some(present) = self.present.borrow_mut().get_mut(&id) {
            present.task = Some(task);
        }
    }

    /// Ends whoever waits for a request.
    pub fn send_home(&self) {
        let idle =
            |present: &Present| present.is_idle.get().then(|| present.task.clone()).flatten();
        let tasks: Vec<_> = self.present.borrow().values().filter_map(idle).collect();
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// Has everybody look about.
    pub fn wake(&self) {
        let waker = |present: &Present| present.waker.clone();
        let wakers: Vec<_> = self.present.borrow().values().filter_map(waker).collect();
        wakers.iter().for_each(Waker::wake_by_ref);
    }

    /// Once nobody is there.
    pub async fn empty(&self) {
        poll_fn(|context| {
            if self.present.borrow().is_empty() {
                return Poll::Ready(());
            }
            self.waits.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

impl Presence {
    pub fn id(&self) -> u64 {
        self.id
    }

    /// From now on [`Crowd::wake`] wakes the task in which this is called.
    pub async fn listen(&self) {
        poll_fn(|context| {
            if let Some(present) = self.crowd.present.borrow_mut().get_mut(&self.id) {
                present.waker = Some(context.waker().clone());
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut present = self.crowd.present.borrow_mut();
        present.remove(&self.id);
        if present.is_empty()
            && let Some(waker) = self.crowd.waits.take()
        {
            waker.wake();
        }
    }
}
