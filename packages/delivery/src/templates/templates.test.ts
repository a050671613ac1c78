import { describe, expect, it, vi } from 'vitest';

import { TemplateError } from '../placeholders.ts';
import { seededRandom } from '../seeded-trial.ts';
import { templateOverrides } from '../settings-schema.ts';
import { countSegments } from '../text/count-segments.ts';
import { chooseLanguage, languages } from './languages.ts';
import { checkMailTemplate, checkTextTemplate, renderMail, renderText } from './render.ts';
import {
  mailSituations,
  placeholderKinds,
  textSituations,
  type MailSituation,
  type Situation,
  type TextSituation,
} from './situations.ts';

// A million takes minutes: `npm run soak -- --fuzz`.
const IS_LONG = process.env.COUNTERSIGN_LONG === '1';
const INPUTS = IS_LONG ? 1_000_000 : 20_000;
if (IS_LONG) vi.setConfig({ testTimeout: 1_800_000 });

const portalUrl = 'https://portal.acme.example/mfa';
const mails = Object.keys(mailSituations) as MailSituation[];
const texts = Object.keys(textSituations) as TextSituation[];

const examples = {
  name: 'Zoë & Co',
  code: '123456',
  number: 5,
  link: 'https://portal.acme.example/mfa?token=abc_DEF-123',
  time: new Date('2026-11-22T12:00:00Z'),
};

function valuesFor({ required, optional }: Situation, withOptional: boolean) {
  const names = withOptional ? [...required, ...optional] : required;
  return Object.fromEntries(names.map((name) => [name, examples[placeholderKinds[name]]]));
}

const textValues = {
  company_name: 'Acme',
  application_name: 'VPN',
  code: '123456',
  expiry_minutes: 5,
  phone_ending: '21',
};

describe('languages', () => {
  it('English and Dutch are there, each in the file of its name', () => {
    expect([...languages.keys()]).toEqual(expect.arrayContaining(['en', 'nl']));
    for (const [code, language] of languages) expect(language.code).toBe(code);
  });

  it.each([...languages.keys()])('%s has every situation, with known placeholders only', (code) => {
    const language = languages.get(code);
    expect(Object.keys(language?.mails ?? {}).sort()).toEqual(mails.toSorted());
    expect(Object.keys(language?.texts ?? {}).sort()).toEqual(texts.toSorted());
    const problems = [
      ...mails.map((name) => [name, checkMailTemplate(name, language!.mails[name])] as const),
      ...texts.map((name) => [name, checkTextTemplate(name, language!.texts[name])] as const),
    ];
    expect(problems.filter(([, found]) => found.length > 0)).toEqual([]);
  });

  it.each([...languages.keys()])('%s renders everything, with and without the optional', (code) => {
    for (const name of mails) {
      for (const withOptional of [false, true]) {
        const values = valuesFor(mailSituations[name], withOptional) as never;
        const { subject, text } = renderMail(name, values, { languages: [code], portalUrl });
        expect(subject).toMatch(/^\S.*\S$/);
        expect(subject + text).not.toMatch(/<\$|\$>|undefined/);
        const hasLink = Object.keys(values).some((value) => value.includes('link'));
        expect([name, text.includes(examples.link)]).toEqual([name, hasLink]);
      }
    }
  });

  it.each([...languages.keys()])('%s uses every value that a situation requires', (code) => {
    const language = languages.get(code);
    for (const name of mails) {
      const { subject, body } = language!.mails[name];
      for (const value of mailSituations[name].required) {
        expect([name, value, subject + body]).toEqual([
          name,
          value,
          expect.stringContaining(`<$${value}$>`),
        ]);
      }
    }
  });

  it.each([...languages.keys()])('texts in %s are one text for names of common length', (code) => {
    const values = {
      ...textValues,
      company_name: 'Acme Industries',
      application_name: 'VPN Delft',
    };
    for (const name of texts) {
      const text = renderText(name, values, { languages: [code] });
      expect([text, countSegments(text)]).toEqual([
        text,
        expect.objectContaining({ encoding: 'gsm7', segments: 1 }),
      ]);
    }
  });

  it('the nearest language is taken, and English where there is none', () => {
    const choose = (...wanted: (string | undefined)[]) => chooseLanguage(wanted).code;
    expect(choose('nl-BE')).toBe('nl');
    expect(choose(undefined, 'NL')).toBe('nl');
    expect(choose('fr', 'nl')).toBe('nl');
    expect(choose('../nl', '__proto__', '')).toBe('en');
  });
});

describe('rendering', () => {
  it('a text says who, what and how long', () => {
    expect(renderText('oneTimeCode', textValues, { languages: ['en'] })).toBe(
      'Acme: your code for VPN is 123456. It is valid for 5 minutes.',
    );
    expect(renderText('oneTimeCode', textValues, { languages: ['nl'] })).toContain('uw code');
  });

  it('times are written as the language writes them, in the zone that is set', () => {
    const values = { company_name: 'Acme', user_name: 'Alice', when: examples.time };
    const body = (language: string, timeZone?: string) =>
      renderMail('pinChanged', values, { languages: [language], timeZone }).text;
    expect(body('en')).toContain('changed on 22 November 2026 at 12:00 UTC.');
    expect(body('nl', 'Europe/Amsterdam')).toContain('op 22 november 2026 om 13:00 CET.');
    const never = { ...values, when: new Date(Number.NaN) };
    expect(() => renderMail('pinChanged', never, { languages: ['en'] })).toThrow('<$when$>');
  });

  it('an override of the settings takes the place of the built-in one', () => {
    const overrides = templateOverrides.parse({
      en: { texts: { oneTimeCode: '<$code$> is your <$application_name$> code' } },
    });
    const options = { languages: ['en'], overrides };
    expect(renderText('oneTimeCode', textValues, options)).toBe('123456 is your VPN code');
    expect(renderText('replyWithCode', textValues, options)).toContain('reply with 123456');
  });

  it('the "this was not me" line is there only with its link', () => {
    const values = { company_name: 'Acme', user_name: 'Alice', when: examples.time };
    const options = { languages: ['en'], portalUrl };
    const without = renderMail('pinChanged', values, options).text;
    expect(without).toContain('Was this not you?');
    expect(without).not.toContain('report it yourself');
    const not_me_link = `${portalUrl}/not-me?t=x`;
    expect(renderMail('pinChanged', { ...values, not_me_link }, options).text).toContain(
      `with this link: ${not_me_link}\n`,
    );
  });

  it('links lead to the configured portal or nowhere', () => {
    const values = { company_name: 'Acme', user_name: 'Alice', expires: examples.time };
    for (const link of [
      'https://evil.example/mfa',
      'https://portal.acme.example.evil.example/',
      'https://portal.acme.example@evil.example/',
      'https://x:y@portal.acme.example/',
      'http://portal.acme.example/',
      'javascript:alert(1)',
      '//portal.acme.example/',
      `https://portal.acme.example/${'a'.repeat(2_000)}`,
    ]) {
      const render = () =>
        renderMail('completeEnrolment', { ...values, link }, { languages: ['en'], portalUrl });
      expect(render, link).toThrow(TemplateError);
    }
    const link = `${portalUrl}\r\nBcc: eve@example.org`;
    const { text } = renderMail(
      'completeEnrolment',
      { ...values, link },
      { languages: ['en'], portalUrl },
    );
    expect(text).not.toMatch(/^Bcc/m);
    expect(() =>
      renderMail('completeEnrolment', { ...values, link: portalUrl }, { languages: ['en'] }),
    ).toThrow('<$link$>');
  });

  it('a value cannot name another, and a missing one is an error', () => {
    const values = { ...textValues, application_name: '<$code$><$pin$>' };
    expect(renderText('oneTimeCode', values, { languages: ['en'] })).toContain(
      'code for <$code$><$pin$> is 123456',
    );
    const missing = { ...textValues, code: undefined } as never;
    expect(() => renderText('oneTimeCode', missing, { languages: ['en'] })).toThrow('<$code$>');
    const inherited = Object.create({ ...textValues }) as typeof textValues;
    inherited.code = 'not a code!';
    expect(() => renderText('oneTimeCode', inherited, { languages: ['en'] })).toThrow('<$code$>');
  });

  it('20,000 names from outside stay one harmless line each', () => {
    const random = seededRandom(28);
    const nasty = [
      '\r\n',
      '\n.\n',
      '\u202e',
      '\u200b',
      '\u0000',
      '\u001b[31m',
      '\ud800',
      '<$code$>',
    ];
    const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
    const name = () => {
      let text = '';
      for (let piece = random(6); piece >= 0; piece -= 1) {
        text += random(2) ? nasty[random(nasty.length)] : String.fromCodePoint(random(0x3000) + 32);
      }
      return random(50) === 0 ? text.repeat(200) : text;
    };
    const options = { languages: ['en'], portalUrl };
    const harmful: unknown[] = [];
    for (let round = 0; round < INPUTS; round += 1) {
      const [user_name, company_name] = [name(), name()];
      if (round % 2 === 0) {
        const text = renderText('oneTimeCode', { ...textValues, company_name }, options);
        const isFine = !unsafe.test(text) && text.length < 200 && text.includes('is 123456. It');
        if (!isFine) harmful.push({ company_name, text });
        continue;
      }
      const values = { user_name, company_name, when: examples.time };
      const { subject, text } = renderMail('fraudReported', values, options);
      const isFine = !unsafe.test(subject) && subject.length <= 256;
      const lines = text.split('\n');
      if (!isFine || lines.length !== 7 || lines.some((line) => unsafe.test(line))) {
        harmful.push({ ...values, subject, text });
      }
    }
    expect(harmful).toEqual([]);
  });
});

describe("an operator's template", () => {
  const textProblems = (template: string) => checkTextTemplate('oneTimeCode', template).join('; ');
  const mailProblems = (template: { subject: string; body: string }) =>
    checkMailTemplate('initialPin', template).join('; ');

  it('an unknown placeholder is named, with those that are known', () => {
    expect(textProblems('<$code$> <$pin$>')).toBe(
      '<$pin$> is unknown here; known are ' +
        '<$application_name$> <$code$> <$company_name$> <$expiry_minutes$>',
    );
    const parsed = templateOverrides.safeParse({ nl: { texts: { oneTimeCode: '<$kode$>' } } });
    expect(parsed.error?.issues[0]).toMatchObject({
      path: ['nl', 'texts', 'oneTimeCode'],
      message: expect.stringContaining('<$kode$> is unknown'),
    });
    expect(templateOverrides.safeParse({ xx: {} }).error?.issues[0]?.message).toContain('en, nl');
    expect(templateOverrides.safeParse({ en: { texts: { nothing: 'x' } } }).success).toBe(false);
  });

  it('what would not work is said before it is set', () => {
    expect(textProblems('Your code is <$code$>')).toBe('');
    expect(textProblems('Your code is secret')).toContain('<$code$> is missing');
    expect(textProblems('Your code is <$code>')).toContain('<$ without its $>');
    expect(textProblems('Your code\n<$code$>')).toContain('one plain line');
    expect(textProblems('\u202e<$code$>')).toContain('one plain line');
    expect(textProblems(`<$code$>${'x'.repeat(500)}`)).toContain('480');
    expect(mailProblems({ subject: 'PIN', body: 'Your PIN:\n\n  <$pin$>\n' })).toBe('');
    expect(mailProblems({ subject: 'PIN <$pin$>', body: 'x' })).toContain('subject');
    expect(mailProblems({ subject: 'PIN <$link$>', body: 'x' })).toContain('subject');
    expect(mailProblems({ subject: 'a\r\nBcc: x', body: 'x' })).toContain('one plain line');
    expect(mailProblems({ subject: ' ', body: 'x' })).toContain('has a subject');
    expect(mailProblems({ subject: 'x', body: 'a\u202eb' })).toContain('invisible');
    expect(mailProblems({ subject: 'x', body: 'x'.repeat(10_001) })).toContain('10,000');
  });
});
