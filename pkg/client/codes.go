package client

// What the server refuses a request with: Code of [Error]. docs/api.md says of each what it means; newer servers may know more.
const (
	CodeBadRequest           = "bad_request"
	CodeInvalidJSON          = "invalid_json"
	CodeInvalidField         = "invalid_field" // Field of the error says which
	CodeUnknownLanguage      = "unknown_language"
	CodeUnknownVersion       = "unknown_version"
	CodeUnauthorized         = "unauthorized"
	CodeForbidden            = "forbidden"
	CodeNotFound             = "not_found"
	CodeMethodNotAllowed     = "method_not_allowed"
	CodePayloadTooLarge      = "payload_too_large"
	CodeUnsupportedMediaType = "unsupported_media_type"
	CodeUpgradeRequired      = "upgrade_required"
	CodeRateLimited          = "rate_limited"
	CodeOverloaded           = "overloaded"
	CodeInterrupted          = "interrupted"
	CodeInternal             = "internal"
)
