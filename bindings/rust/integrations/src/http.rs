//! Requests and responses of the crate `http`.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = conpool::Client::new()?;
//! let request = http::Request::get("https://example.org/").header("accept", "*/*").body("")?;
//! let response = conpool_integrations::http::send(&client, request).await?;
//! println!("{} {} bytes", response.status(), response.body().as_ref().len());
//! # Ok(()) }
//! ```

use conpool::{Body, Client, Error, RequestBuilder, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use std::future::Future;

/// A request of conpool from one of `http`. Its version and extensions are left out: the protocol
/// is what the server speaks (option `http.version`).
pub fn request<B: Into<Body>>(client: &Client, request: http::Request<B>) -> RequestBuilder {
    let (parts, body) = request.into_parts();
    let builder = client.request(parts.method.as_str(), parts.uri.to_string());
    let add = |builder: RequestBuilder, (name, value): (&HeaderName, &HeaderValue)| {
        builder.header(name.as_str(), value.as_bytes())
    };
    parts.headers.iter().fold(builder, add).body(body)
}

/// A response of `http` whose body is the response of conpool, with its bytes, trailers and facts.
pub fn response(response: Response) -> http::Response<Response> {
    let mut result = http::Response::new(());
    copy_head(&response, &mut result);
    result.map(|()| response)
}

pub(crate) fn copy_head<T>(response: &Response, result: &mut http::Response<T>) {
    // The library gives three digits and nothing else.
    *result.status_mut() = StatusCode::from_u16(response.status()).unwrap_or_default();
    *result.version_mut() = match response.version() {
        conpool::Version::HTTP_10 => Version::HTTP_10,
        conpool::Version::HTTP_2 => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    *result.headers_mut() = header_map(response.headers());
}

pub(crate) fn header_map(lines: conpool::Headers<'_>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(lines.len());
    for (name, value) in lines.iter() {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// Sends a request, and waits for the whole response.
///
/// # Errors
///
/// As [`RequestBuilder::send`].
pub fn send_blocking<B: Into<Body>>(
    client: &Client,
    message: http::Request<B>,
) -> Result<http::Response<Response>, Error> {
    request(client, message).send().map(response)
}

/// Sends a request, at once: the future is ready with the whole response.
///
/// # Errors
///
/// As [`RequestBuilder::send`].
///
/// # Cancellation
///
/// Dropping the future cancels the request.
pub fn send<B: Into<Body>>(
    client: &Client,
    message: http::Request<B>,
) -> impl Future<Output = Result<http::Response<Response>, Error>> + Send {
    let call = request(client, message).send_async();
    async { call.await.map(response) }
}
