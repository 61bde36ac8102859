//! The same load and the same judge on a lone `serve`: what clients need not know.

use parlance_testkit::fleet::{Recoveries, finish, plan, seconds_of, times, turn, unlimited};
use parlance_testkit::traffic::{Directory, Traffic, recording::Promise};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_server_that_is_killed_loses_nothing() {
    let _turn = turn();
    let mut server = unlimited().start();
    let directory = Directory::new([server.address()]);
    let plan = plan("serve");
    let mut traffic = Traffic::start(&plan, &directory).await;
    let mut recoveries = Recoveries::default();
    for _ in 0..times(10, 2) {
        traffic.until_acknowledged(seconds_of(&plan, 0.5)).await;
        server.kill();
        directory.leave(0);
        server.restart();
        directory.join(0, server.address());
        recoveries.wait(&mut traffic).await;
    }
    finish("serve killed", traffic, Promise::NothingLost, &recoveries).await;
}
