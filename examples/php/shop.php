<?php
// A shop that asks for a consent, queues a message, and learns how it ended, through `wxsub serve`.
// PHP 8, without extensions. docs/curl.md says how to run it with PHP's own web server.

declare(strict_types=1);

// One scene for each occasion of a message, here "the parcel leaves". Not one for each order.
const CONSENT = ['template_id' => 'sandbox-template-1', 'scene' => 1000];

/** POSTs JSON to the control server. Throws the problem if the server refuses. */
function call(string $path, array $body, array $headers = []): array
{
    $headers[] = 'Authorization: Bearer ' . getenv('WXSUB_KEY');
    $headers[] = 'Content-Type: application/json';
    $options = ['method' => 'POST', 'header' => $headers, 'content' => json_encode($body), 'timeout' => 35, 'ignore_errors' => true];
    $url = getenv('WXSUB_SERVER') . '/v1/apps/' . getenv('WXSUB_APPID') . $path;
    $response = @file_get_contents($url, false, stream_context_create(['http' => $options]));
    if ($response === false) {
        throw new RuntimeException('the control server does not respond');
    }
    $answer = json_decode($response, true, 512, JSON_THROW_ON_ERROR);
    if (!preg_match('{^HTTP/\S+ 2}', $http_response_header[0])) {
        throw new RuntimeException($answer['detail']);
    }
    return $answer;
}

function verify(string $secret, string $id, string $timestamp, string $signature, string $body): array
{
    if (!ctype_digit($timestamp) || abs(time() - (int) $timestamp) > 300) {
        throw new RuntimeException('too old, or from the future');
    }
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret));
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    foreach (explode(' ', $signature) as $one) {
        if (hash_equals($expected, $one)) {
            return json_decode($body, true, 512, JSON_THROW_ON_ERROR);
        }
    }
    throw new RuntimeException('wrong signature');
}

/** Makes a session and sends the visitor to Weixin. */
function ask(): void
{
    $session = bin2hex(random_bytes(8));
    $back = 'http://127.0.0.1:' . (getenv('PORT') ?: '8000') . '/back';
    $issued = call('/consents', CONSENT + ['session' => $session, 'redirect_url' => $back]);
    // `Lax` sends the cookie when Weixin redirects the visitor back. Add `secure` where there is TLS.
    setcookie('session', $session, ['path' => '/', 'httponly' => true, 'samesite' => 'Lax']);
    header("Location: {$issued['url']}", true, 302);
}

/** Handles the callback: has the server verify and record it, and queues the message. */
function back(): string
{
    $session = $_COOKIE['session'] ?? '';
    $consent = call('/grants', ['callback' => $_SERVER['QUERY_STRING'] ?? '', 'session' => $session]);
    if ($consent['outcome'] === 'declined') {
        return 'No message, then.';
    }
    $message = CONSENT + [
        'touser' => $_GET['openid'],
        'title' => 'Parcel',
        'data' => ['content' => ['value' => 'It is on its way.']],
    ];
    // The same key again is the same message: a reload, or a repeat after a lost response, sends nothing twice.
    $queued = call('/outbox', $message, ["Idempotency-Key: order-$session"]);
    return "Thank you. Your message is {$queued['id']}.";
}

/** Handles a webhook: how a message ended. */
function hook(): string
{
    $header = fn (string $name): string => $_SERVER["HTTP_WEBHOOK_$name"] ?? '';
    $body = file_get_contents('php://input', false, null, 0, 65536);
    $event = verify(getenv('WXSUB_WEBHOOK_SECRET'), $header('ID'), $header('TIMESTAMP'), $header('SIGNATURE'), $body);
    // A webhook can come twice. Store `id` with the largest `sequence`, and ignore smaller ones.
    file_put_contents('php://stderr', ($event['data']['idempotency_key'] ?? '') . ' ' . $event['data']['outcome'] . "\n");
    return 'stored';
}

$request = $_SERVER['REQUEST_METHOD'] . ' ' . parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
try {
    match ($request) {
        'GET /' => ask(),
        'GET /back' => print(back()),
        'POST /hooks' => print(hook()),
        default => throw new RuntimeException('no such page', 404),
    };
} catch (RuntimeException $refused) {
    http_response_code($refused->getCode() ?: 400);
    echo $refused->getMessage();
}
