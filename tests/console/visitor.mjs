// A browser that opens the console, and keeps an eye on what the page does.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const PATIENCE_MS = 60_000;
const ARGUMENTS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
];

export async function launch(executablePath) {
  return chromium.launch({ executablePath, headless: true, args: ARGUMENTS });
}

export class Visitor {
  // Opens the console in a window of a size. Whatever the page asks of another host, and every error that it meets, is kept.
  static async open(browser, address, { width, height, dark = false, folder }) {
    const context = await browser.newContext({
      viewport: { width, height }, colorScheme: dark ? 'dark' : 'light', reducedMotion: 'reduce', deviceScaleFactor: 1,
    });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const visitor = new Visitor();
    Object.assign(visitor, { page, context, folder, errors: [], strangers: [] });
    page.on('pageerror', (error) => visitor.errors.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') visitor.errors.push(message.text());
    });
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== new URL(address).origin) visitor.strangers.push(request.url());
    });
    await page.goto(address);
    await visitor.sees('#node-acknowledged .value', /\d/);
    return visitor;
  }

  // Waits until an element says something.
  async sees(selector, pattern, what = selector) {
    const element = this.page.locator(selector).first();
    const deadline = Date.now() + PATIENCE_MS;
    let text = '';
    do {
      text = await element.textContent({ timeout: 5_000 }).catch(() => '(not there)');
      if (pattern.test(text)) return text;
      await this.page.waitForTimeout(100);
    } while (Date.now() < deadline);
    return assert.fail(`${what} never said ${pattern}, but: ${text}`);
  }

  // The figure of a part of the picture.
  async figure(id) {
    const text = await this.page.locator(`#node-${id} .value`).textContent();
    return Number(text.replaceAll(',', ''));
  }

  // Waits until a figure is at least so much, or just so much.
  async counts(id, wanted, exactly = false) {
    const deadline = Date.now() + PATIENCE_MS;
    let figure = await this.figure(id);
    while (exactly ? figure !== wanted : figure < wanted) {
      assert.ok(Date.now() < deadline, `${id} is ${figure}, and should be ${wanted}`);
      await this.page.waitForTimeout(100);
      figure = await this.figure(id);
    }
  }

  // Fills the form, sends it, and waits for the answer.
  async sends({ call = 'Segment track', times = 1, key = 'dev', body }, answer = /^200/) {
    const { page } = this;
    await page.selectOption('#send-call', call);
    await page.fill('#send-form [name=key]', key);
    await page.fill('#send-form [name=times]', String(times));
    if (body) await page.fill('#send-body', typeof body === 'string' ? body : JSON.stringify(body, null, 2));
    await page.click('#send-button');
    await page.locator('#send-button:enabled').waitFor();
    await this.sees('#send-result .chip', answer);
  }

  async turns(part, broken) {
    await this.page.click(`#switch-${part}`);
    await this.page.locator(`#switch-${part}[aria-checked=${broken}]`).waitFor();
  }

  // Waits until the page shows what is so by now.
  async isCurrent() {
    for (let picture = 0; picture < 2; picture += 1) await this.page.waitForResponse(/\/console\/api\/state/);
    await this.page.waitForTimeout(100);
  }

  // Waits until nothing waits any more, letting the time-outs of messages pass.
  async drains() {
    await this.isCurrent();
    const deadline = Date.now() + PATIENCE_MS;
    while (await this.figure('waiting')) {
      assert.ok(Date.now() < deadline, 'something waits for ever');
      const reveal = this.page.locator('#reveal:enabled');
      if (await reveal.count()) await reveal.click({ timeout: 1_000 }).catch(() => {});
      await this.page.waitForTimeout(300);
    }
    await this.sees('#verdict', /^✓ Nothing is lost: each/);
  }

  // What the page did that it should not have done. Answers that were asked for are in the browser's log as errors.
  wentWrong() {
    const expected = /^Failed to load resource: the server responded with a status of (400|401|409|503) /;
    return [...this.errors.filter((text) => !expected.test(text)), ...this.strangers];
  }

  async photographs(name, options = { fullPage: true }) {
    if (!this.folder) return;
    await mkdir(this.folder, { recursive: true });
    // Otherwise the header stands where the page was scrolled to.
    if (options.fullPage) await this.page.locator('html').evaluate((html) => html.scrollTo(0, 0));
    await this.page.screenshot({ path: join(this.folder, `${name}.png`), animations: 'disabled', ...options });
  }
}
