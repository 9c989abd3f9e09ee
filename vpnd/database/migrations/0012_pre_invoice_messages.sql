-- A Stars invoice is a message: when Telegram took it. Null: it was not sent, or nobody knows whether it was.
alter table purchases add column invoice_sent_at timestamptz;
