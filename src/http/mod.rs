//! (placeholder)
use crate::actors::service::Service;
use crate::clock::Clock;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
/// x
pub trait RequestObserver: Send + Sync + 'static {
    /// x
    fn observed(&self, route: &str, method: &str, status: u16, seconds: f64);
}
/// x
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}
/// x
pub fn serve(
    _: TcpListener,
    _: Service,
    _: Arc<dyn Clock>,
    _: Arc<dyn RequestObserver>,
) -> io::Result<actix_web::dev::Server> {
    Err(io::Error::other("x"))
}
